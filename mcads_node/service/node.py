"""The composition root: configuration → objects, and the order in which they start and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import structlog

from mcads_node import __version__
from mcads_node.cluster import ClusterCompute
from mcads_node.compute import Compute
from mcads_node.config import Configuration, RuleBook, known_to, load_rules
from mcads_node.deliver.deliverer import Deliverer, DeliverySettings, Shelves
from mcads_node.dispatch import Dispatcher, DispatchSettings
from mcads_node.errors import NodeError
from mcads_node.profile import Profile, renditions
from mcads_node.service.auditing import audit_of, tell_sent
from mcads_node.service.backups import BackupWatch
from mcads_node.service.certificates import read_again, tell_of
from mcads_node.service.configured import (
    caller_of,
    check_models,
    destination_address,
    disk_guard_of,
    labels_of,
    tls_of,
)
from mcads_node.service.delivering import all_of, count_commitment, count_transfer, terms_of
from mcads_node.service.drifting import DriftWatch
from mcads_node.service.intake import Intake, Pokes
from mcads_node.service.jobs import disk_job, jobs_of, once_for_all, upkeep_jobs
from mcads_node.service.peers import PeerWatch
from mcads_node.service.pulling import pull_jobs
from mcads_node.service.receiver import Receiver
from mcads_node.service.roles import ALL_ROLES, Role
from mcads_node.service.sharing import compute_of
from mcads_node.service.watch import Watch, Watched, alert_job
from mcads_node.state import open_state
from mcads_node.tend import Tender
from mcads_node.workitems import DELIVERIES, KEPT, RELOADED, WORK, Listener

log = structlog.stdlib.get_logger(__name__)

#: how long a stop waits for what is being received, and for what is being analysed
RECEIVE_GRACE_SECONDS = 10.0
WORK_GRACE_SECONDS = 30.0


class Node:
    """The parts of a node that this process runs, in the order in which they are started.

    Parts of one process wake each other up. On PostgreSQL those of other processes hear of work, too; and all
    look for it by themselves.

    Parameters
    ----------
    configuration
        As checked by :func:`load`.
    roles
        Which parts.
    """

    def __init__(self, configuration: Configuration, roles: Collection[Role] = ALL_ROLES) -> None:
        self._configuration = configuration
        node = configuration.node.node
        # before anything is opened: a file may be wrong
        self._tls = tls_of(configuration.node)
        self._roles = roles
        self._is_started = False
        #: the last that was started is the first to stop
        self._stops = ExitStack()
        self._state = open_state(configuration.node)
        self._stops.callback(self._state.close)
        self._disk = disk_guard_of(configuration.node)
        self._name = f"{node.machine}/{node.ae_title}"
        self._audit = audit_of(configuration, self._state)
        self._lease = timedelta(seconds=configuration.node.analysis.lease_seconds)
        destinations = configuration.node.destinations
        profiles = {name: renditions(each, configuration.node.report) for name, each in destinations.items()}
        self._deliverer = self._make_deliverer(profiles) if Role.DELIVER in roles else None
        self._compute = compute_of(configuration) if Role.ANALYSE in roles else None
        self._dispatcher = self._make_dispatcher(self._compute, profiles) if self._compute else None
        pokes = Pokes(
            dispatch=self._dispatcher.poke if self._dispatcher else _nobody,
            delivery=self._deliverer.poke if self._deliverer else _nobody,
        )
        jobs = jobs_of(self._state, self._lease, pokes.dispatch) if Role.TEND in roles else None
        watched = self._watched()
        self._watch = Watch(watched)
        self._stewardship = self._state.workitems.stewardship()
        alerts = alert_job(watched, self._stewardship)
        stopping = threading.Event()
        addresses = {name: destination_address(each, self._tls) for name, each in destinations.items()}
        #: whether each destination answers; asked where the role tend runs
        self.peers = PeerWatch(addresses, caller_of(configuration.node), stopping)
        upkeep = upkeep_jobs(configuration.node, self._state, self.peers, stopping)
        drift = watched.drift.jobs() if watched.drift else []
        looks = [disk_job(self._disk), alerts, *watched.backups.jobs(), *drift]
        self._intake = Intake(configuration, self._state, self._disk, self._audit, pokes)
        pulls = pull_jobs(configuration.node, self._state, self._intake.keep, self._tls, stopping)
        self._tender = (
            None
            if jobs is None
            else Tender(once_for_all([*jobs, *looks, *upkeep, *pulls], self._stewardship), stopping)
        )
        self._listener = self._make_listener()
        self._receiver = (
            Receiver(configuration, self._state, self._intake, self._audit, self._tls)
            if Role.RECEIVE in roles
            else None
        )

    def _watched(self) -> Watched:
        return Watched(
            configuration=self._configuration,
            roles=self._roles,
            state=self._state,
            disk=self._disk,
            receiver_port=lambda: self.port if self._is_started else None,
            workers_alive=lambda: self._compute.alive if self._compute else None,
            certificates=self._tls.certificates if self._tls else dict,
            audit_lost=lambda: self._audit.lost,
            backups=BackupWatch(self._configuration.node.backup.directory),
            drift=DriftWatch(self._configuration, self._state),
        )

    def _make_deliverer(self, profiles: dict[str, Profile]) -> Deliverer:
        destinations = self._configuration.node.destinations
        return Deliverer(
            DeliverySettings(
                destinations={
                    name: destination_address(each, self._tls) for name, each in destinations.items()
                },
                caller=caller_of(self._configuration.node),
                profiles=profiles,
                terms={name: terms_of(each) for name, each in destinations.items()},
                holder=self._name,
                hold=2 * self._lease,
                observer=all_of((count_transfer, partial(tell_sent, self._audit))),
                on_commitment=count_commitment,
            ),
            self._state.workitems,
            Shelves(results=self._state.results, received=self._state.spool),
        )

    def _make_dispatcher(self, compute: Compute | ClusterCompute, profiles: dict[str, Profile]) -> Dispatcher:
        dispatcher = Dispatcher(
            self._state,
            compute,
            profiles=profiles,
            poke_delivery=self._deliverer.poke if self._deliverer else _nobody,
            settings=DispatchSettings(worker=self._name, lease=self._lease),
        )
        dispatcher.use_rules(self._configuration.book)
        return dispatcher

    def _make_listener(self) -> Listener | None:
        """Hear of what other nodes put into a database that is shared."""
        heard: dict[str, Callable[[str], None]] = {}
        dispatcher, deliverer = self._dispatcher, self._deliverer
        if dispatcher is not None:
            heard[WORK] = lambda _nothing: dispatcher.poke()
        if deliverer is not None:
            heard[DELIVERIES] = lambda destination: deliverer.poke(destination or None)
        return self._state.workitems.listener(heard) if heard else None

    def start(self) -> None:
        """Start; the receiver comes last, so that nothing is accepted that could not be worked on.

        Raises
        ------
        NodeError
            The model cannot be loaded, or the port cannot be listened on.
        """
        # first, so that whoever asks is told that the node is not ready yet
        self._start(self._watch.start, self._watch.stop)
        self._start(self._audit.start, self._audit.stop)
        self._stops.callback(self._tell_end)
        if self._compute is not None:
            self._start_compute(self._compute)
        if self._tender is not None:
            self._stops.callback(self._stewardship.let_go)
            self._start(self._tender.start, self._tender.stop)
        if self._deliverer is not None:
            self._start(self._deliverer.start, self._deliverer.stop)
        if self._dispatcher is not None:
            self._accept(self._configuration.book, "start")
            self._start(self._dispatcher.start, partial(self._dispatcher.stop, WORK_GRACE_SECONDS))
        if self._listener is not None:
            self._start(self._listener.start, self._listener.stop)
        if self._receiver is not None:
            self._start(self._receiver.start, partial(self._receiver.stop, RECEIVE_GRACE_SECONDS))
        self._note("started", f"version {__version__}: {', '.join(sorted(self._roles))}")
        self._audit.application_started()
        self._is_started = True
        tell_of(self._tls)

    def _start_compute(self, compute: Compute | ClusterCompute) -> None:
        # what an earlier run of this node held when it died is nobody's now
        for lease in self._state.workitems.expire_leases(held_by=self._name):
            log.warning("work.lease_expired", workitem=lease.number, reason=lease.reason)
        self._stops.callback(compute.stop, grace_seconds=1.0)
        compute.start()

    def _note(self, what: str, why: str | None = None) -> None:
        try:
            self._state.workitems.note(self._name, what, "node", why)
        except NodeError as error:
            # the record lacks it; a node that cannot write has told so elsewhere, and must be able to end
            log.error("event.unrecorded", what=what, reason=str(error))

    def _tell_end(self) -> None:
        if self._is_started:
            self._note("stopped")
            self._audit.application_stopped()

    def _start(self, start: Callable[[], None], stop: Callable[[], object]) -> None:
        start()
        self._stops.callback(stop)

    @property
    def port(self) -> int | None:
        """The port that the receiver listens on; None where this process does not receive."""
        return self._receiver.port if self._receiver else None

    def reload_rules(self, config: Path) -> None:
        """Read the routes again, and use them from the next image on.

        They are held against the destinations and the model that this node runs with, not against what
        ``node.yaml`` says by now: that takes a restart.

        A process that only delivers uses no rules, and reads none.

        Raises
        ------
        NodeError
            The rules are wrong, or a model that they name cannot be used, or they cannot be put on record;
            those that were used go on being used.
        """
        if Role.DELIVER in self._roles and len(self._roles) == 1:
            return
        node = self._configuration.node
        path = config.parent / node.routes
        if self._dispatcher is None:
            # who analyses speaks for the node
            self._use_rules(load_rules(path, known_to(node, labels_of())))
            return
        try:
            book = load_rules(path, known_to(node, labels_of()))
            check_models(node, book.rules)
            # on record before the first image is treated by them
            self._accept(book, "reload")
        except NodeError as error:
            self._note(KEPT, str(error))
            raise
        self._use_rules(book)
        self._note(RELOADED, book.digest)

    def _use_rules(self, book: RuleBook) -> None:
        if self._dispatcher is not None:
            self._dispatcher.use_rules(book)
        self._intake.use_rules(book.rules)
        log.info("routes.reloaded", digest=book.digest, rules=len(book.rules))

    def _accept(self, book: RuleBook, why: str) -> None:
        workitems = self._state.workitems
        who = workitems.who_asked_for_rules() if why == "reload" else None
        workitems.accept_rules(book.digest, book.text, who=who or self._name, why=why)
        for caution in book.cautions:
            log.warning("routes.caution", caution=str(caution))

    def reload_certificates(self) -> None:
        """Read certificates, key and CAs again; if they are right, the next association uses them."""
        read_again(self._tls, self._note)

    def stop(self) -> None:
        """Stop accepting, finish what is being received and analysed, stop delivering, close the state."""
        self._watch.end()
        self._stops.close()


def _nobody() -> None:
    """Wake nobody: who would do the work runs elsewhere, and looks for it by itself."""
