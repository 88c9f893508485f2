"""The composition root: configuration → objects, and the order in which they start and stop."""

from __future__ import annotations

import fcntl
import os
import queue
import signal
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import structlog

from mcads_node import __version__
from mcads_node.compute import Compute
from mcads_node.config import Configuration, DestinationSection, load_configuration, load_rules
from mcads_node.deliver.deliverer import Deliverer, DeliverySettings
from mcads_node.deliver.send import Caller, DestinationAddress
from mcads_node.dispatch import Dispatcher, DispatchSettings
from mcads_node.errors import ConfigError, NodeError
from mcads_node.instance import Requestor
from mcads_node.model_store.store import ModelStore
from mcads_node.profile import renditions
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.receive.admission import Admission, AllowedRequestor
from mcads_node.receive.arrival import SUCCESS, Arrival, keep_in
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.sdnotify import notify
from mcads_node.shipped import shipped_folder
from mcads_node.state import State, open_state, weights_dir
from mcads_node.task import WorkerSettings
from mcads_node.tend import Tender

#: what "auto" stops at: each worker holds a model of its own
_MOST_WORKERS = 8
#: threads without which the node would stand still and look alive
_VITAL_THREADS = ("dispatch", "deliver-", "compute", "receiver")
_THREAD_DEATH = -1

log = structlog.stdlib.get_logger(__name__)

#: how long a stop waits for what is being received, and for what is being analysed
RECEIVE_GRACE_SECONDS = 10.0
WORK_GRACE_SECONDS = 30.0


def load(config: Path) -> Configuration:
    """Read the configuration against the models that are installed.

    Raises
    ------
    ConfigError
        With every problem of ``node.yaml`` and ``routes.yaml``.
    """
    store = ModelStore(models_dir=shipped_folder("models"), weights_dir=Path())
    return load_configuration(config, {name: store.manifest(name).labels for name in store.list()})


def model_store(configuration: Configuration) -> ModelStore:
    """Open the store of models that a node of this configuration uses."""
    folder = weights_dir(configuration.node.node.data_dir)
    return ModelStore(models_dir=shipped_folder("models"), weights_dir=folder)


def check_model(configuration: Configuration) -> str:
    """Make sure that the configured model may serve and its weights are the pinned ones; give their digest.

    Raises
    ------
    ModelUnusable
        With what to do.
    """
    analysis = configuration.node.analysis
    store = model_store(configuration)
    store.require_allowed(analysis.model, allow_demonstration=analysis.allow_demonstration_models)
    return store.verify(analysis.model)


def destination_address(destination: DestinationSection) -> DestinationAddress:
    """Give the network's view of a configured destination."""
    return DestinationAddress(ae_title=destination.ae_title, host=destination.host, port=destination.port)


class Node:
    """Everything of one machine's node, in the order in which it is started.

    Parameters
    ----------
    configuration
        As checked by :func:`load`.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._labels = model_store(configuration).manifest(configuration.node.analysis.model).labels
        node = configuration.node.node
        #: the last that was started is the first to stop
        self._stops = ExitStack()
        self._state = open_state(configuration.node)
        self._stops.callback(self._state.close)
        self._name = f"{socket.gethostname()}/{node.ae_title}"
        self._compute = _compute(configuration)
        destinations = configuration.node.destinations
        profiles = {name: renditions(each, configuration.node.report) for name, each in destinations.items()}
        self._deliverer = Deliverer(
            DeliverySettings(
                destinations={name: destination_address(each) for name, each in destinations.items()},
                caller=Caller(ae_title=node.ae_title),
                profiles=profiles,
            ),
            self._state.workitems,
            self._state.results,
        )
        self._dispatcher = Dispatcher(
            self._state,
            self._compute,
            profiles=profiles,
            poke_delivery=self._deliverer.poke,
            settings=DispatchSettings(worker=self._name),
        )
        self._dispatcher.use_rules(configuration.rules)
        self._tender = Tender(self._state, self._dispatcher.poke)
        self._receiver = _receiver(configuration, self._state, self._dispatcher)

    def start(self) -> None:
        """Start; the receiver comes last, so that nothing is accepted that could not be worked on.

        Raises
        ------
        NodeError
            The model cannot be loaded, or the port cannot be listened on.
        """
        # what an earlier run of this node held when it died is nobody's now
        for lease in self._state.workitems.expire_leases(held_by=self._name):
            log.warning("work.lease_expired", workitem=lease.number, reason=lease.reason)
        self._stops.callback(self._compute.stop, grace_seconds=1.0)
        self._compute.start()
        self._tender.start()
        self._stops.callback(self._tender.stop)
        self._deliverer.start()
        self._stops.callback(self._deliverer.stop)
        self._dispatcher.start()
        self._stops.callback(self._dispatcher.stop, WORK_GRACE_SECONDS)
        self._receiver.start()
        self._stops.callback(self._receiver.stop, RECEIVE_GRACE_SECONDS)

    @property
    def port(self) -> int:
        """The port that the receiver listens on."""
        return self._receiver.port

    def reload_rules(self, config: Path) -> None:
        """Read the routes again, and use them from the next image on.

        They are held against the destinations and the model that this node runs with, not against what
        ``node.yaml`` says by now: that takes a restart.

        Raises
        ------
        ConfigError
            The rules are wrong; those that were used go on being used.
        """
        node = self._configuration.node
        rules = load_rules(config.parent / node.routes, node.destinations, self._labels)
        self._dispatcher.use_rules(rules)

    def stop(self) -> None:
        """Stop accepting, finish what is being received and analysed, stop delivering, close the state."""
        self._stops.close()


def _compute(configuration: Configuration) -> Compute:
    analysis = configuration.node.analysis
    processors = len(os.sched_getaffinity(0))
    workers = min(processors, _MOST_WORKERS) if analysis.workers == "auto" else analysis.workers
    settings = WorkerSettings(
        models_dir=shipped_folder("models"),
        weights_dir=weights_dir(configuration.node.node.data_dir),
        model=analysis.model,
        memory_limit_mib=analysis.memory_limit_mib,
    )
    return Compute(settings, workers, analysis.timeout_seconds)


def _receiver(configuration: Configuration, state: State, dispatcher: Dispatcher) -> StorageScp:
    node = configuration.node.node
    requestors = tuple(
        AllowedRequestor(ae_title=each.ae_title, address=each.address)
        for each in configuration.node.requestors
    )
    keep = keep_in(state.spool, state.workitems)

    def keep_and_poke(arrival: Arrival) -> int:
        status = keep(arrival)
        if status != SUCCESS:
            log.warning(
                "instance.refused",
                calling=arrival.requestor.ae_title,
                status=f"0x{status:04X}",
                reason=arrival.objection.reason if arrival.objection else "no room, or the database is busy",
            )
        dispatcher.poke()
        return status

    def note_rejection(requestor: Requestor, reason: str) -> None:
        log.warning(
            "association.rejected",
            calling=requestor.ae_title,
            called=requestor.called_ae_title,
            address=requestor.address,
            reason=reason,
        )

    settings = ReceiverSettings(
        admission=Admission(
            ae_title=node.ae_title, requestors=requestors, max_associations=node.max_associations
        ),
        transfer_syntaxes=TRANSFER_SYNTAXES,
        host=node.host,
        port=node.port,
    )
    return StorageScp(settings, keep_and_poke, note_rejection)


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
