"""Whether the node that runs on this machine does its work: ``check --live``."""

from __future__ import annotations

import http.client
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcads_node.alerts.conditions import Kind, MachineView, of_the_machine, of_the_state
from mcads_node.config import Configuration, RequestorSection
from mcads_node.deliver.send import DestinationAddress, echo
from mcads_node.disk import Room
from mcads_node.errors import ConfigError, NodeError
from mcads_node.service import (
    ALL_ROLES,
    Role,
    caller_of,
    disk_guard_of,
    limits_of,
    load,
    monitoring_port,
    tls_of,
)
from mcads_node.state import open_state
from mcads_node.tls import PeerTls, Tls, now
from mcads_node.verbs.check_result import CheckResult

_PATIENCE_SECONDS = 20.0


def run_live_checks(config: Path) -> list[CheckResult]:
    """Ask the running node how it is, knock at its own port, and look for what is stuck.

    Parameters
    ----------
    config
        ``node.yaml`` of the running node.
    """
    try:
        configuration = load(config)
    except ConfigError as error:
        return [CheckResult(name="configuration", ok=False, text=str(error))]
    try:
        tls = tls_of(configuration.node)
    except ConfigError as error:
        return [CheckResult(name="certificate", ok=False, text=str(error))]
    return [
        *_processes(configuration),
        _own_port(configuration, tls),
        *_stuck(configuration),
        _disk(configuration),
        *_certificates(configuration, tls),
    ]


def _processes(configuration: Configuration) -> Iterator[CheckResult]:
    monitoring = configuration.node.monitoring
    if monitoring.port is None:
        text = "monitoring.port is null: the node cannot be asked how it is"
        yield CheckResult(name="node", ok=True, warning=True, text=text)
        return
    missing = set(ALL_ROLES)
    for roles in (ALL_ROLES, *(frozenset({role}) for role in Role)):
        port = monitoring_port(monitoring.port, roles)
        answer = _ask(monitoring.host, port) if port else None
        if answer is None or answer.get("data_dir") != str(configuration.node.node.data_dir):
            continue
        missing -= {role for role in Role if role in answer["roles"]}
        whose = "node" if roles == ALL_ROLES else "/".join(answer["roles"])
        for name, finding in answer["checks"].items():
            yield CheckResult(name=f"{whose} {name}", ok=finding["ok"], text=finding["text"])
        if not missing:
            return
    # on PostgreSQL the others may be on other machines
    elsewhere = configuration.node.node.database is not None and missing != ALL_ROLES
    what = (
        "no node of this configuration"
        if missing == ALL_ROLES
        else f"nobody who does {', '.join(sorted(missing))}"
    )
    text = f"{what} answers at {monitoring.host} port {monitoring.port}: systemctl status 'mcads-node*'"
    yield CheckResult(name="node", ok=elsewhere, warning=elsewhere, text=text)


def _ask(host: str, port: int) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    # somebody else may listen there
    known = isinstance(answer, dict) and {"data_dir", "roles", "checks"} <= answer.keys()
    return answer if known else None


def _own_port(configuration: Configuration, tls: Tls | None) -> CheckResult:
    """Send a C-ECHO to the node as a requestor would, from this machine."""
    node = configuration.node.node
    anywhere = ipaddress.ip_address("127.0.0.1") if node.host in ("0.0.0.0", "::") else None  # noqa: S104
    host = str(anywhere or node.host)
    requestor = next((each for each in configuration.node.requestors if _may_come_from(each, host)), None)
    called = requestor.called_ae_title if requestor and requestor.called_ae_title else (node.ae_title,)
    # by whichever name this machine calls itself here, its certificate need not have it
    peer = PeerTls(tls=tls, verify_host=False, name=None) if tls else None
    address = DestinationAddress(ae_title=called[0], host=host, port=node.port, tls=peer)
    caller = caller_of(configuration.node)
    if requestor is not None:
        caller = replace(caller, ae_title=requestor.ae_title)
    result = echo(address, caller)
    if result.milliseconds is not None:
        text = f"{address} answered a C-ECHO in {result.milliseconds:.0f} ms"
        return CheckResult(name="port", ok=True, text=text)
    reason = result.reason or f"{address} did not answer"
    if requestor is None and "reject" in reason:
        text = (
            f"{address} answers, and rejects this machine, which is not among requestors: to have a C-ECHO"
            f" go through, add {{ae_title: {node.ae_title}, address: {host}}}"
        )
        return CheckResult(name="port", ok=True, warning=True, text=text)
    return CheckResult(name="port", ok=False, text=reason)


def _may_come_from(requestor: RequestorSection, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(requestor.address, strict=False)
    except ValueError:
        return False  # the node listens at a name


def _stuck(configuration: Configuration) -> Iterator[CheckResult]:
    try:
        state = open_state(configuration.node)
    except NodeError as error:
        yield CheckResult(name="database", ok=False, text=str(error))
        return
    try:
        backlog, stuck = state.workitems.backlog(), state.workitems.stuck()
    except NodeError as error:
        yield CheckResult(name="database", ok=False, text=str(error))
        return
    finally:
        state.close()
    conditions = of_the_state(
        backlog, stuck, limits_of(configuration.node.alerts, configuration.node.destinations)
    )
    for each in conditions:
        yield CheckResult(name=each.kind, ok=False, text=f"{each.text} {each.advice}")
    told = {each.key for each in conditions}
    for line in backlog.destinations:
        if line.failing_since is not None and f"{Kind.DESTINATION}/{line.name}" not in told:
            text = f"{line.name} does not answer at the moment; {line.pending} object(s) wait for it"
            yield CheckResult(name=Kind.DESTINATION, ok=True, warning=True, text=text)
    waiting = sum(queue.waiting + queue.in_progress for queue in backlog.queues)
    pending = sum(line.pending for line in backlog.destinations)
    text = f"{waiting} piece(s) of work and {pending} deliveries wait"
    yield CheckResult(name="queues", ok=True, text=text)


def _disk(configuration: Configuration) -> CheckResult:
    guard = disk_guard_of(configuration.node)
    room = guard.room()
    try:
        text = (
            f"{configuration.node.node.data_dir}: {guard.free_bytes() / 1024**3:.1f} GiB free ({room.value})"
        )
    except NodeError as error:
        text = str(error)
    return CheckResult(name="disk", ok=room is not Room.FULL, warning=room is Room.LOW, text=text)


def _certificates(configuration: Configuration, tls: Tls | None) -> Iterator[CheckResult]:
    if tls is not None:
        view = MachineView(host="this machine", certificates=tls.certificates())
        for each in of_the_machine(view, limits_of(configuration.node.alerts), now()):
            yield CheckResult(name=each.kind, ok=False, text=f"{each.text} {each.advice}")
