"""Pulling as the configuration says it: the archives, what is fetched by the clock, and where it is kept."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from mcads_node import metrics
from mcads_node.association.requesting import Caller
from mcads_node.backoff import RetryPolicy, longest_delay
from mcads_node.config import NodeConfig, PullSection, SourceSection
from mcads_node.errors import NodeError
from mcads_node.instance import Requestor
from mcads_node.pull.fetching import Fetched, Hands, fetch, find
from mcads_node.pull.query import StudyQuery, dates_of
from mcads_node.pull.scu import Incoming, Source
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.receive.arrival import Arrival, StoreCommand, arrival_of
from mcads_node.receive.contexts import STORAGE_CLASSES
from mcads_node.service.configured import caller_of, destination_address
from mcads_node.state import State
from mcads_node.tend import Job
from mcads_node.tls import Tls

log = structlog.stdlib.get_logger(__name__)

#: how often an instance is asked for that does not come, by one process
_MOST_ATTEMPTS = 3
#: after a failure an archive is left alone for a while that grows to this
_PATIENCE = RetryPolicy(base=timedelta(minutes=1), cap=timedelta(hours=1), max_age=None, max_attempts=None)


def source_of(config: NodeConfig, name: str, tls: Tls | None) -> Source:
    """Give the network's view of a configured archive; `tls` is what `tls_of` gave."""
    section = config.sources[name]
    caller = caller_of(config)
    # an archive may be silent while it reads from slow storage
    patient = replace(caller.timeouts, dimse=section.timeout_seconds, network=section.timeout_seconds)
    return Source(
        name=name,
        address=destination_address(section, tls),
        caller=Caller(ae_title=caller.ae_title, timeouts=patient, max_pdu=caller.max_pdu),
        method=section.method,
        modalities=section.modalities,
        storage_classes=tuple(STORAGE_CLASSES),
        transfer_syntaxes=TRANSFER_SYNTAXES,
    )


def store_into(
    keep: Callable[[Arrival], int], config: NodeConfig, section: SourceSection
) -> Callable[[Incoming], int]:
    """Return a function that keeps what came by C-GET as if the archive had sent it by C-STORE."""
    requestor = Requestor(
        ae_title=section.ae_title, address=address_of(section.host), called_ae_title=config.node.ae_title
    )

    def store(incoming: Incoming) -> int:
        command = StoreCommand(
            requestor=requestor,
            sop_class_uid=incoming.sop_class_uid,
            sop_instance_uid=incoming.sop_instance_uid,
            context_sop_class_uid=incoming.context_sop_class_uid,
            transfer_syntax_uid=incoming.transfer_syntax_uid,
        )
        return keep(arrival_of(command, incoming.dataset))

    return store


def address_of(host: str) -> str:
    """Give an address of a host, or its name where it has none now."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return host


def pull_jobs(
    config: NodeConfig,
    state: State,
    keep: Callable[[Arrival], int],
    tls: Tls | None,
    stopping: threading.Event,
) -> list[Job]:
    """Put together what is fetched by the clock.

    Parameters
    ----------
    config
        What the administrator wants.
    state
        Says what is here already.
    keep
        Keeps what comes by C-GET.
    tls
        What `tls_of` gave.
    stopping
        Set when the node stops.
    """
    jobs = []
    for name, section in config.pull.items():
        source = source_of(config, section.source, tls)
        hands = Hands(
            known=state.workitems.known_instances,
            store=store_into(keep, config, config.sources[section.source]),
            goes_on=lambda: not stopping.is_set(),
        )
        pull = ScheduledPull(name, source, section, hands, state)
        every = None if section.every_minutes is None else timedelta(minutes=section.every_minutes)
        jobs.append(Job(name=f"pull-{name}", run=pull.run, every=every, at=section.at, once=True))
    return jobs


class ScheduledPull:
    """Fetches, each time it runs, what matches a question and is not here.

    Parameters
    ----------
    name
        Of the section in the configuration.
    source
        The archive.
    section
        What is asked.
    hands
        What is here, and where what comes is kept.
    state
        Whose record of events tells of what was fetched.
    """

    def __init__(self, name: str, source: Source, section: PullSection, hands: Hands, state: State) -> None:
        self._name = name
        self._source = source
        self._section = section
        self._hands = hands
        self._state = state
        self._failures = 0
        self._resume_at = datetime.min.replace(tzinfo=UTC)
        #: how often each instance was asked for and did not come
        self._missed: Counter[str] = Counter()

    def run(self) -> None:
        """Run once, unless the archive failed a while ago."""
        now = datetime.now(UTC)
        if now < self._resume_at:
            return
        try:
            reason = self._pull()
        except NodeError as error:
            reason = str(error)
        if reason is None:
            self._failures = 0
            return
        self._failures += 1
        self._resume_at = now + longest_delay(self._failures, _PATIENCE) * random.uniform(0.5, 1)  # noqa: S311
        log.warning(
            "pull.failed",
            job=self._name,
            source=self._source.name,
            reason=reason,
            until=self._resume_at.isoformat(timespec="seconds"),
        )
        self._note("pull failed", reason)

    def _pull(self) -> str | None:
        """Fetch what is missing; gives why not all of it came."""
        given_up = frozenset(uid for uid, times in self._missed.items() if times >= _MOST_ATTEMPTS)
        hands = replace(self._hands, given_up=given_up)
        found = find(self._source, self._query(), hands)
        if found.unusable:
            log.warning("pull.odd_answers", job=self._name, source=self._source.name, answers=found.unusable)
        fetched = []
        for study in found.studies:
            if study.missing and self._hands.goes_on():
                fetched.append(fetch(self._source, study, hands))
                self._tell(fetched[-1])
        return next((each.reason for each in fetched if each.reason), None)

    def _query(self) -> StudyQuery:
        asked = self._section.query
        # dates are those of the place, as modalities write them
        today = datetime.now().astimezone().date()
        return StudyQuery(
            study_date=dates_of(asked.get("StudyDate", ""), today),
            accession_number=asked.get("AccessionNumber", ""),
            study_description=asked.get("StudyDescription", ""),
            modalities_in_study=asked.get("ModalitiesInStudy", ""),
        )

    def _tell(self, fetched: Fetched) -> None:
        here = set(self._hands.known(fetched.there.study.study_instance_uid))
        self._missed.update(uid for uid in fetched.there.missing if uid not in here)
        tell(fetched, self._source.name)
        self._note("pulled", f"{fetched.received} image(s) of {fetched.there.study.study_instance_uid}")

    def _note(self, what: str, why: str) -> None:
        try:
            self._state.workitems.note("node", what, f"source {self._source.name}", why)
        except NodeError as error:
            log.error("event.unrecorded", what=what, reason=str(error))


def tell(fetched: Fetched, source: str) -> None:
    """Tell log and metrics what came of a study."""
    log.info(
        "study.pulled",
        source=source,
        study=fetched.there.study.study_instance_uid,
        received=fetched.received,
        failed=fetched.failed,
        reason=fetched.reason,
    )
    metrics.pulled(source, fetched.received, failed=fetched.failed)
