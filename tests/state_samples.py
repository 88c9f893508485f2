"""A durable state whose rows have their files, without a network or a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mcads_node.result import ObjectKind
from mcads_node.spool import Spool
from mcads_node.state import State
from mcads_node.workitems import Kind, Receipt, Stored, StoredResult
from mcads_node.workitems.outcomes import Outcome
from tests.workitems_samples import (
    ALL_KINDS,
    LEASE,
    QUIET,
    Clock,
    analysed,
    claim_one,
    fresh_store,
    received,
    stored,
)


@dataclass
class StateWithFiles:
    """A state, and the steps that bring a study through it."""

    state: State
    clock: Clock

    def receive(self, image: str = "1", study: str = "1", content: str | None = None) -> Receipt:
        """Keep an image as the receiver does."""
        text = content or f"{study}/{image}"
        file = self.state.spool.write(text.encode())
        instance = replace(
            received(image, study, content=text, at=self.clock.now), path=file.path, size=file.size
        )
        receipt = self.state.workitems.record_received(instance)
        if receipt is Receipt.DUPLICATE:
            self.state.spool.delete(file.path)
        return receipt

    def result(self, kind: ObjectKind) -> StoredResult:
        made = stored(kind)
        file = self.state.results.write(f"{kind} {made.sop_instance_uid}".encode())
        return replace(made, path=file.path, size=file.size, digest=file.digest)

    def analyse(self) -> None:
        """Analyse whatever waits for it, with a heatmap of each image."""
        store = self.state.workitems
        while items := store.claim("w1", LEASE, kind=Kind.ANALYSE):
            outcome = analysed(self.result(ObjectKind.HEATMAP))
            thumbnail = self.state.results.write(b"picture").path
            assert store.complete_analysis(items[0], replace(outcome, thumbnail=thumbnail))

    def report(self, *destinations: str) -> None:
        """Write the one report that is due."""
        self.clock.forward(QUIET)
        item = claim_one(self.state.workitems, Kind.REPORT)
        objects = [self.result(ObjectKind.SUMMARY), self.result(ObjectKind.SR)]
        wanted = dict.fromkeys(destinations, ALL_KINDS)
        assert self.state.workitems.complete_report(item, objects, wanted)

    def deliver(self, destination: str = "pacs", outcome: Outcome | None = None) -> None:
        """End every delivery that waits for a destination."""
        for delivery in self.state.workitems.due_deliveries(destination, 1000):
            assert self.state.workitems.record_delivery(delivery, outcome or Stored())

    def whole_study(self, study: str = "1") -> None:
        """Bring one image from its reception to the delivery of its results."""
        self.receive(study=study)
        self.analyse()
        self.report("pacs")
        self.deliver()

    def files(self) -> tuple[int, int]:
        """How many files there are in the spool, and among the results."""
        return tuple(
            len([each for each in folder.folder.glob("*/*") if each.is_file()])
            for folder in (self.state.spool, self.state.results)
        )  # type: ignore[return-value]


@contextmanager
def state_with_files(database: str | Path, folder: Path) -> Iterator[StateWithFiles]:
    """Open an empty state: its database as of the fixture `database`, its files in a folder."""
    clock = Clock()
    with fresh_store(database, clock) as workitems:
        spool, results = Spool(folder / "spool"), Spool(folder / "results")
        yield StateWithFiles(State(workitems=workitems, spool=spool, results=results), clock)
