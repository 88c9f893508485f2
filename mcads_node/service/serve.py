"""Running the node: alone in its folder, until a signal ends it."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import traceback
from collections.abc import Collection
from pathlib import Path
from types import FrameType

import structlog

from mcads_node import __version__, metrics
from mcads_node.allocator import give_back_what_is_freed
from mcads_node.errors import NodeError
from mcads_node.sdnotify import notify
from mcads_node.service.configured import calibrations_of, check_models, load
from mcads_node.service.node import Node
from mcads_node.service.roles import ALL_ROLES, Role, alone_in

log = structlog.stdlib.get_logger(__name__)

#: threads without which the node would stand still and look alive
_VITAL_THREADS = ("dispatch", "deliver-", "compute", "receiver", "tend-clock", "listen")
_THREAD_DEATH = -1
#: seconds until a signal is noticed at the latest
_LONGEST_WAIT = 0.5


def serve(config: Path, roles: Collection[Role] = ALL_ROLES) -> None:
    """Run the node, or some roles of it, until SIGTERM or SIGINT; SIGHUP reads the routes again.

    Raises
    ------
    NodeError
        It cannot start, and why.
    """
    give_back_what_is_freed()
    configuration = load(config)
    digests = check_models(configuration.node, configuration.rules) if Role.ANALYSE in roles else {}
    digest = digests.get(configuration.node.analysis.model)
    calibrations = calibrations_of(configuration.node).values() if Role.ANALYSE in roles else ()
    # a SimpleQueue, since its put may be interrupted by another put: by a second signal during the first
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.put(number)

    def on_thread_death(death: threading.ExceptHookArgs) -> None:
        # the text of an unforeseen error may quote a data set: only its type and place are told
        place = traceback.extract_tb(death.exc_traceback)[-1:]
        where = f"{place[0].filename}:{place[0].lineno}" if place else ""
        name = death.thread.name if death.thread else ""
        log.critical("thread.died", thread=name, error=death.exc_type.__name__, where=where)
        if name.startswith(_VITAL_THREADS):
            asked.put(_THREAD_DEATH)

    threading.excepthook = on_thread_death
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    with alone_in(configuration.node, roles):
        node = Node(configuration, roles)
        try:
            node.start()
            metrics.describe(__version__, configuration.node.analysis.model, digest or "")
            log.info(
                "node.ready",
                version=__version__,
                ae_title=configuration.node.node.ae_title,
                roles=sorted(roles),
                port=node.port,
                model=configuration.node.analysis.model,
                weights=digest,
                calibrations=[each.digest for each in calibrations],
            )
            status = ", ".join(sorted(roles)) if node.port is None else f"listening on port {node.port}"
            notify(f"READY=1\nSTATUS={status}")
            _wait_for_the_end(config, node, asked)
        finally:
            notify("STOPPING=1")
            log.info("node.stopping")
            node.stop()
        log.info("node.stopped")


def _next(asked: queue.SimpleQueue[int]) -> int:
    while True:
        # a signal that comes just before the wait does not end it, and its handler runs only after it: a wait
        # without an end slept through all signals of a burst
        with contextlib.suppress(queue.Empty):
            return asked.get(timeout=_LONGEST_WAIT)


def _wait_for_the_end(config: Path, node: Node, asked: queue.SimpleQueue[int]) -> None:
    while (number := _next(asked)) not in (signal.SIGTERM, signal.SIGINT):
        if number == _THREAD_DEATH:
            raise NodeError("a thread of the node died of a defect (see the log); start the node anew")
        node.reload_certificates()
        try:
            node.reload_rules(config)
        except NodeError as error:
            log.error("routes.kept", reason=str(error))
