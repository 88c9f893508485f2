"""Made-up instances, outcomes and results, and a clock that tests can turn."""

from __future__ import annotations

import hashlib
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mcads_node.finding import Algorithm, Finding, Presence
from mcads_node.instance import InputCheck, ReceivedInstance, Requestor, Verdict, View
from mcads_node.result import ObjectKind, Rendition
from mcads_node.workitems import (
    InstanceAnalysed,
    Kind,
    StoredResult,
    Workitem,
    Workitems,
    WorkPolicy,
    open_store,
)
from tests.anatomy_samples import MEASURED

START = datetime(2024, 3, 1, 8, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
QUIET = 10.0
ALL_KINDS = frozenset(Rendition(kind=kind) for kind in ObjectKind)
_numbers = itertools.count(1)


@dataclass
class Clock:
    """A clock that stands still unless it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@contextmanager
def fresh_store(
    where: str | Path, clock: Callable[[], datetime], policy: WorkPolicy | None = None
) -> Iterator[Workitems]:
    """Open an empty store: SQLite in a folder, or the database that a URL names (the fixture `database`)."""
    store = open_store(where / "node.db" if isinstance(where, Path) else where, clock=clock, policy=policy)
    try:
        yield store
    finally:
        store.close()


def digest_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def received(
    image: str = "1",
    study: str = "1",
    *,
    content: str | None = None,
    at: datetime = START,
    patient: str | None = None,
    issuer: str | None = None,
) -> ReceivedInstance:
    return ReceivedInstance(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        sop_instance_uid=f"1.2.3.{study}.{image}",
        study_instance_uid=f"1.2.3.{study}",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        requestor=Requestor(ae_title="CR_ROOM1", address="10.20.0.7", called_ae_title="MCADS"),
        received_at=at,
        path=f"2024-03-01/{uuid.uuid4().hex}",
        size=1000,
        digest=digest_of(content or f"{study}/{image}"),
        patient=digest_of(patient) if patient else None,
        issuer=digest_of(issuer) if issuer else None,
    )


def stored(kind: ObjectKind, uid: str | None = None, variant: str = "") -> StoredResult:
    number = next(_numbers)
    return StoredResult(
        kind=kind,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid=uid or f"2.25.{number}",
        series_instance_uid=f"2.25.{number}.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=f"2024-03-01/{number:032x}",
        size=10,
        digest=digest_of(str(number)),
        variant=variant,
    )


def analysed(*objects: StoredResult, quiet: float = QUIET) -> InstanceAnalysed:
    return InstanceAnalysed(
        route="frontal chest, adults",
        algorithm=Algorithm(
            name="densenet121-res224-all",
            version="0.1.0+1",
            weights_digest=digest_of("weights"),
            device_uid="2.25.77",
            labels=("Edema", "Mass"),
        ),
        findings=(
            Finding(label="Edema", score=0.1 + 0.2, threshold=0.5, presence=Presence.ABSENT),
            Finding(label="Mass", score=0.75, threshold=0.5, presence=Presence.PRESENT),
        ),
        checks=(InputCheck(name="view", verdict=Verdict.WARN, reason="The view is not known."),),
        view=View.PA,
        header=b"\x00" * 128 + b"DICM",
        thumbnail=f"2024-03-01/{next(_numbers):032x}",
        objects=objects,
        send_to=("pacs",),
        quiet_seconds=quiet,
        anatomy=MEASURED,
    )


def claim_one(store: Workitems, kind: Kind | None = None, worker: str = "w1") -> Workitem:
    (item,) = store.claim(worker, LEASE, kind=kind)
    return item


def analyse_all(store: Workitems, *, heatmaps: int = 0) -> None:
    """Analyse whatever waits for it."""
    while items := store.claim("w1", LEASE, kind=Kind.ANALYSE):
        maps = [stored(ObjectKind.HEATMAP) for _ in range(heatmaps)]
        assert store.complete_analysis(items[0], analysed(*maps))


def report(store: Workitems, *destinations: str) -> Workitem:
    """Write the one report that is due."""
    item = claim_one(store, Kind.REPORT)
    objects = [stored(ObjectKind.SUMMARY), stored(ObjectKind.SR)]
    assert store.complete_report(item, objects, dict.fromkeys(destinations, ALL_KINDS))
    return item


def in_threads(*works: Callable[[], object]) -> None:
    """Run all at the same time, and wait for all."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
