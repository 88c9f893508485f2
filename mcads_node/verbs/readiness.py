"""Whether a node could do its work: the verbs ``check`` and ``echo``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mcads_node.config import Configuration, NodeConfig
from mcads_node.deliver.send import DestinationAddress, echo, negotiate
from mcads_node.disk import Room
from mcads_node.engine import EngineSettings
from mcads_node.engine.choice import foreseen
from mcads_node.errors import ConfigError, ModelUnusable, NodeError, PeerUnreachable, Problem, TransientError
from mcads_node.profile import negotiated, renditions
from mcads_node.result import ObjectKind, Rendition
from mcads_node.service import (
    calibration_faults,
    calibrations_of,
    caller_of,
    check_model,
    companions_of,
    destination_address,
    disk_guard_of,
    labels_of,
    load,
    model_store,
    models_of,
    tls_of,
)
from mcads_node.state import open_state
from mcads_node.tls import Tls, now
from mcads_node.triage import may_hold
from mcads_node.verbs.check_result import CheckResult
from mcads_node.verbs.sources import check_sources


def run_checks(config: Path) -> list[CheckResult]:
    """Look at configuration, model, database, disk and every peer; nothing is changed but made ready.

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
    results += [
        CheckResult(name="routes", ok=True, warning=True, text=each) for each in _cautions(configuration)
    ]
    results += _triage(configuration)
    if not configuration.node.requestors:
        text = "requestors is empty: nobody may send"
        results.append(CheckResult(name="requestors", ok=False, text=text))
    results += [*_models(configuration), _disk(configuration), _database(configuration)]
    try:
        tls = tls_of(configuration.node)
    except ConfigError as error:
        results.append(CheckResult(name="tls", ok=False, text=str(error)))
        return [*results, *_peers(configuration, None), *check_sources(configuration.node, None)]
    asked = (*_peers(configuration, tls), *check_sources(configuration.node, tls))
    return [*results, *_certificate(tls), *asked]


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
    return _echo(configuration, name, destination_address(destination, tls_of(configuration.node)))


def _certificate(tls: Tls | None) -> Iterator[CheckResult]:
    if tls is None:
        return
    faults = tls.faults(now())
    text = f"the node's certificate is valid until {tls.expires_at:%Y-%m-%d}"
    if faults:
        text = f"the node's certificate will be refused: {'; '.join(faults)}"
    yield CheckResult(name="tls", ok=not faults, text=text)
    for caution in tls.cautions(now()):
        yield CheckResult(name="tls", ok=True, warning=True, text=caution)


def _cautions(configuration: Configuration) -> Iterator[str]:
    yield from map(str, configuration.book.cautions)
    store = model_store(configuration.node)
    sets = {each.name: each for rule in configuration.rules for each in rule.threshold_sets}
    for each in sets.values():
        name = each.model or configuration.node.analysis.model
        there = store.manifest(name).version
        if each.version not in (None, there):
            yield f"threshold set {each.name!r} is for version {each.version} of {name}, here is {there}"


def _triage(configuration: Configuration) -> Iterator[CheckResult]:
    rules = configuration.triage
    if rules is None:
        return
    text = f"{configuration.node.triage}: {len(rules.rules)} rules, SHA-256 {rules.digest[:16]}…"
    yield CheckResult(name="triage", ok=True, text=text)
    labels = labels_of()
    for model in models_of(configuration.node, configuration.rules):
        never = [repr(rule.name) for rule in rules.rules if not may_hold(rule, labels[model])]
        if never:
            text = f"{model} lacks the findings of {', '.join(never)}: there they never hold"
            yield CheckResult(name="triage", ok=True, warning=True, text=text)


def _models(configuration: Configuration) -> Iterator[CheckResult]:
    node, rules = configuration.node, configuration.rules
    for name in (*models_of(node, rules), *companions_of(node)):
        yield _model(node, name)
    try:
        for fault in calibration_faults(node, rules):
            yield CheckResult(name="calibration", ok=False, text=fault)
        spoken = [each.model.name for each in calibrations_of(node).values()]
    except ConfigError as error:
        yield CheckResult(name="calibration", ok=False, text=str(error))
        return
    for rule in rules:
        model = rule.analyse and (rule.analyse.model or node.analysis.model)
        if rule.analyse and rule.analyse.calibration is None and spoken.count(model or "") > 1:
            text = f"rule {rule.name!r} names no site: of several calibrations of {model} it uses none"
            yield CheckResult(name="calibration", ok=True, warning=True, text=text)


def _model(node: NodeConfig, name: str) -> CheckResult:
    try:
        digest = check_model(node, name)
        calibrations = [each for each in calibrations_of(node).values() if each.model.name == name]
    except (ModelUnusable, ConfigError) as error:
        return CheckResult(name="model", ok=False, text=str(error))
    text = f"{name}: weights verified, SHA-256 {digest[:16]}…"
    for each in calibrations:
        text += f"; calibrated at {each.site} ({len(each.labels)} labels), SHA-256 {each.digest[:16]}…"
    wanted = EngineSettings(name=node.analysis.engine, precision=node.analysis.precision)
    text += f"; engine: {foreseen(model_store(node), name, wanted)}"
    return CheckResult(name="model", ok=True, text=text)


def _disk(configuration: Configuration) -> CheckResult:
    folder = configuration.node.node.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        disk = disk_guard_of(configuration.node)
        free, room = disk.free_bytes(), disk.room()
    except OSError as error:
        return CheckResult(name="disk", ok=False, text=f"{folder}: {error.strerror}")
    except TransientError as error:
        return CheckResult(name="disk", ok=False, text=str(error))
    text = f"{folder}: {free / 1024**3:.1f} GiB free"
    if room is Room.FULL:
        text += f"; below {configuration.node.disk.refuse_below_mib} MiB nothing is received"
    return CheckResult(name="disk", ok=room is not Room.FULL, warning=room is Room.LOW, text=text)


def _database(configuration: Configuration) -> CheckResult:
    try:
        state = open_state(configuration.node)
        waiting = sum(state.workitems.pending_by_destination().values())
        state.close()
    except NodeError as error:
        return CheckResult(name="database", ok=False, text=str(error))
    return CheckResult(name="database", ok=True, text=f"opened, {waiting} deliveries waiting")


def _peers(configuration: Configuration, tls: Tls | None) -> Iterator[CheckResult]:
    for name, destination in configuration.node.destinations.items():
        if destination.tls and tls is None:
            yield CheckResult(name=name, ok=False, text="not asked: it takes TLS, of which files are wrong")
            continue
        address = destination_address(destination, tls)
        answer = _echo(configuration, name, address)
        yield answer
        if ObjectKind.SEG in destination.objects:
            text = "asks for seg: a segmentation of a chest radiograph makes OHIF's page crash"
            yield CheckResult(name=name, ok=True, warning=True, text=text)
        if answer.ok:
            yield _negotiation(configuration, name, address)


def _negotiation(configuration: Configuration, name: str, address: DestinationAddress) -> CheckResult:
    """Propose all that the destination would be sent, and a rejection note; say what it rejects."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    destination = configuration.node.destinations[name]
    for rendition in renditions(destination, configuration.node.report).renditions:
        names.setdefault(negotiated(rendition), {})[rendition.kind] = None
    note = negotiated(Rendition(kind=ObjectKind.KOS))
    names.setdefault(note, {})["rejection notes (mcads-node retract)"] = None
    kinds = {kind: ", ".join(told) for kind, told in names.items()}
    caller = caller_of(configuration.node)
    try:
        rejected = negotiate(address, kinds, caller)
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


def _echo(configuration: Configuration, name: str, address: DestinationAddress) -> CheckResult:
    result = echo(address, caller_of(configuration.node))
    if result.milliseconds is None:
        return CheckResult(name=name, ok=False, text=result.reason or f"{address} did not answer")
    return CheckResult(name=name, ok=True, text=f"{address} answered in {result.milliseconds:.0f} ms")
