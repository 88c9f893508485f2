"""Whether a node could do its work: the verbs ``check`` and ``echo``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mcads_node.config import Configuration, DestinationSection
from mcads_node.deliver.send import Caller, echo, negotiate
from mcads_node.errors import ConfigError, ModelUnusable, NodeError, PeerUnreachable, Problem
from mcads_node.profile import negotiated, renditions
from mcads_node.result import ObjectKind, Rendition
from mcads_node.service import check_model, destination_address, load, model_store
from mcads_node.state import open_state

#: less free space than this in data_dir is told as a failure
LEAST_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One thing that was looked at."""

    name: str
    ok: bool
    text: str
    #: it works, and an administrator should know of it all the same
    warning: bool = False


def run_checks(config: Path) -> list[CheckResult]:
    """Look at configuration, model, database, disk and every destination; nothing is changed but made ready.

    Parameters
    ----------
    config
        ``node.yaml``.
    """
    try:
        configuration = load(config)
    except ConfigError as error:
        return [CheckResult(name="configuration", ok=False, text=str(error))]
    rules = f"{len(configuration.rules)} rules, {len(configuration.node.requestors)} requestors"
    results = [CheckResult(name="configuration", ok=True, text=f"{config}: {rules}")]
    if not configuration.node.requestors:
        text = "requestors is empty: nobody may send"
        results.append(CheckResult(name="requestors", ok=False, text=text))
    results += [_model(configuration), _disk(configuration), _database(configuration)]
    return [*results, *_peers(configuration)]


def echo_destination(config: Path, name: str) -> CheckResult:
    """Send a C-ECHO to the destination called `name`.

    Raises
    ------
    ConfigError
        There is no such destination.
    """
    configuration = load(config)
    destination = configuration.node.destinations.get(name)
    if destination is None:
        known = ", ".join(sorted(configuration.node.destinations)) or "none"
        message = f"{name!r} is not one of them ({known})"
        raise ConfigError([Problem(file=str(config), line=None, key="destinations", message=message)])
    return _echo(configuration, name, destination)


def _model(configuration: Configuration) -> CheckResult:
    name = configuration.node.analysis.model
    try:
        check_model(configuration)
        digest = model_store(configuration).verify(name)
    except ModelUnusable as error:
        return CheckResult(name="model", ok=False, text=str(error))
    return CheckResult(name="model", ok=True, text=f"{name}: weights verified, SHA-256 {digest[:16]}…")


def _disk(configuration: Configuration) -> CheckResult:
    folder = configuration.node.node.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return CheckResult(name="disk", ok=False, text=f"{folder}: {error.strerror}")
    text = f"{folder}: {free / 1024**3:.1f} GiB free"
    return CheckResult(name="disk", ok=free >= LEAST_FREE_BYTES, text=text)


def _database(configuration: Configuration) -> CheckResult:
    try:
        state = open_state(configuration.node)
        waiting = sum(state.workitems.pending_by_destination().values())
        state.close()
    except NodeError as error:
        return CheckResult(name="database", ok=False, text=str(error))
    return CheckResult(name="database", ok=True, text=f"opened, {waiting} deliveries waiting")


def _peers(configuration: Configuration) -> Iterator[CheckResult]:
    for name, destination in configuration.node.destinations.items():
        answer = _echo(configuration, name, destination)
        yield answer
        if ObjectKind.SEG in destination.objects:
            text = "asks for seg: a segmentation of a chest radiograph makes OHIF's page crash"
            yield CheckResult(name=name, ok=True, warning=True, text=text)
        if answer.ok:
            yield _negotiation(configuration, name, destination)


def _negotiation(configuration: Configuration, name: str, destination: DestinationSection) -> CheckResult:
    """Propose all that the destination would be sent, and a rejection note; say what it rejects."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    for rendition in renditions(destination, configuration.node.report).renditions:
        names.setdefault(negotiated(rendition), {})[rendition.kind] = None
    note = negotiated(Rendition(kind=ObjectKind.KOS))
    names.setdefault(note, {})["rejection notes (mcads-node retract)"] = None
    kinds = {kind: ", ".join(told) for kind, told in names.items()}
    caller = Caller(ae_title=configuration.node.node.ae_title)
    try:
        rejected = negotiate(destination_address(destination), kinds, caller)
    except PeerUnreachable as error:
        return CheckResult(name=name, ok=False, text=str(error))
    if not rejected:
        text = f"takes {', '.join(dict.fromkeys(kinds.values()))}"
        return CheckResult(name=name, ok=True, text=text)
    told = [
        f"{kinds[kind]} as SOP class {kind[0]} in transfer syntax {kind[1]} ({words})"
        for kind, words in rejected.items()
    ]
    return CheckResult(name=name, ok=True, warning=True, text=f"rejects {'; '.join(told)}")


def _echo(configuration: Configuration, name: str, destination: DestinationSection) -> CheckResult:
    address = destination_address(destination)
    result = echo(address, Caller(ae_title=configuration.node.node.ae_title))
    if result.milliseconds is None:
        return CheckResult(name=name, ok=False, text=result.reason or f"{address} did not answer")
    return CheckResult(name=name, ok=True, text=f"{address} answered in {result.milliseconds:.0f} ms")
