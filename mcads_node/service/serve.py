"""Running the node: alone in its folder, until a signal ends it."""

from __future__ import annotations

import fcntl
import os
import queue
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import structlog

from mcads_node import __version__
from mcads_node.errors import ConfigError, NodeError
from mcads_node.sdnotify import notify
from mcads_node.service.configured import check_model, load
from mcads_node.service.node import Node

log = structlog.stdlib.get_logger(__name__)

#: threads without which the node would stand still and look alive
_VITAL_THREADS = ("dispatch", "deliver-", "compute", "receiver")
_THREAD_DEATH = -1


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the data folder: two nodes on one folder would take each other's work for a dead node's."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NodeError(f"{folder} (node.data_dir) cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise NodeError(f"{folder} (node.data_dir) is in use by another node that is running") from error
    try:
        yield
    finally:
        os.close(handle)


def serve(config: Path) -> None:
    """Run the node until SIGTERM or SIGINT; SIGHUP reads the routes again.

    Raises
    ------
    NodeError
        It cannot start, and why.
    """
    configuration = load(config)
    digest = check_model(configuration)
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
    with _alone_in(configuration.node.node.data_dir):
        node = Node(configuration)
        try:
            node.start()
            log.info(
                "node.ready",
                version=__version__,
                ae_title=configuration.node.node.ae_title,
                port=node.port,
                model=configuration.node.analysis.model,
                weights=digest,
            )
            notify(f"READY=1\nSTATUS=listening on port {node.port}")
            _wait_for_the_end(config, node, asked)
        finally:
            notify("STOPPING=1")
            log.info("node.stopping")
            node.stop()
        log.info("node.stopped")


def _wait_for_the_end(config: Path, node: Node, asked: queue.SimpleQueue[int]) -> None:
    while (number := asked.get()) not in (signal.SIGTERM, signal.SIGINT):
        if number == _THREAD_DEATH:
            raise NodeError("a thread of the node died of a defect (see the log); start the node anew")
        try:
            node.reload_rules(config)
            log.info("routes.reloaded")
        except ConfigError as error:
            log.error("routes.kept", reason=str(error))
