"""Whatever happens in whatever order, every image ends somewhere, and reports tell all of it."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from mcads_node.backoff import RetryPolicy
from mcads_node.priority import Priority
from mcads_node.result import ObjectKind
from mcads_node.schedule import Schedule, Window
from mcads_node.workitems import (
    Deferred,
    DeliveryState,
    Handling,
    InstanceDeclined,
    InstanceRecord,
    InstanceState,
    Kind,
    Outcome,
    Purpose,
    Receipt,
    Refused,
    ShadowWish,
    Stored,
    StoredResult,
    StudyRecord,
    Wish,
    Workitem,
    Workitems,
    WorkPolicy,
    WorkState,
)
from tests.workitems_samples import ALL_KINDS, LEASE, Clock, analysed, fresh_store, received, stored

POLICY = WorkPolicy(retry=RetryPolicy(max_age=None, max_attempts=3), max_deaths=2)
STUDIES = ("1", "2")
HANDLINGS = st.builds(
    Handling,
    priority=st.sampled_from(Priority),
    schedule=st.sampled_from(
        [None, Schedule(windows=(Window(days=(4, 5), begins=32400, ends=3600, zone="UTC"),))]
    ),
    forward=st.sampled_from([(), ("pacs",)]),
    shadows=st.sampled_from([(), (ShadowWish(rule="new"),)]),
)
OPEN = {WorkState.SCHEDULED, WorkState.IN_PROGRESS}


class Node(RuleBasedStateMachine):
    """One store, several workers of which some are slow, dead or wrong, and one destination."""

    items = Bundle("items")

    def __init__(self, database: Callable[[], AbstractContextManager[str | Path]]) -> None:
        super().__init__()
        self.database = database
        self.resources = ExitStack()

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        where = self.resources.enter_context(self.database())
        self.store: Workitems = self.resources.enter_context(fresh_store(where, self.clock, POLICY))
        self.images = itertools.count(2)
        self.accepted: set[str] = set()
        self.forwarded: set[str] = set()

    def teardown(self) -> None:
        with self.resources:
            if not hasattr(self, "store"):
                return
            self._drain()
            for record in self._records():
                self._all_told(record)

    @rule(study=st.sampled_from(STUDIES), handling=HANDLINGS)
    def receive(self, study: str, handling: Handling) -> None:
        instance = received(str(next(self.images)), study=study, at=self.clock.now)
        assert self.store.record_received(instance, handling) is Receipt.RECORDED
        self.accepted.add(instance.sop_instance_uid)
        self.forwarded |= {instance.sop_instance_uid} if handling.forward else set()

    @rule(study=st.sampled_from(STUDIES), same=st.booleans())
    def receive_again(self, study: str, same: bool) -> None:
        instance = received("1", study=study, content=None if same else str(next(self.images)))
        known = instance.sop_instance_uid in self.accepted
        receipt = self.store.record_received(instance)
        self.accepted.add(instance.sop_instance_uid)
        if known and not same:
            assert receipt is Receipt.CONFLICT

    @rule(target=items, limit=st.integers(1, 3), kind=st.sampled_from([None, *Kind]))
    def claim(self, limit: int, kind: Kind | None) -> object:
        return multiple(*self.store.claim("w", LEASE, kind=kind, limit=limit))

    @rule(item=items)
    def complete(self, item: Workitem) -> None:
        self._complete(item)

    @rule(item=consumes(items))
    def decline(self, item: Workitem) -> None:
        if item.kind is Kind.ANALYSE:
            self.store.complete_analysis(item, InstanceDeclined(reason="not a chest"))

    @rule(item=items, permanent=st.booleans())
    def fail(self, item: Workitem, permanent: bool) -> None:
        self.store.fail(item, "no memory", permanent=permanent)

    @rule(item=items)
    def release(self, item: Workitem) -> None:
        self.store.release(item, "stopping")

    @rule(item=items)
    def renew(self, item: Workitem) -> None:
        self.store.renew([item], LEASE)

    @rule(seconds=st.sampled_from([-3600, 1, 11, 61]))
    def time_passes(self, seconds: int) -> None:
        self.clock.forward(seconds)

    @rule()
    def tend(self) -> None:
        self.store.expire_leases()
        self.store.keep_hours()

    @rule(which=st.sampled_from(STUDIES), shadow=st.booleans())
    def reanalyse(self, which: str, shadow: bool) -> None:
        if f"1.2.3.{which}" in {line.study_instance_uid for line in self.store.list_studies()}:
            self.store.reanalyse(f"1.2.3.{which}", Wish(model="other", shadow=shadow))

    @rule(which=st.sampled_from(STUDIES))
    def retry(self, which: str) -> None:
        if f"1.2.3.{which}" in {line.study_instance_uid for line in self.store.list_studies()}:
            self.store.retry(f"1.2.3.{which}")

    @rule(ending=st.sampled_from(["stored", "deferred", "refused", "unreachable"]))
    def deliver(self, ending: str) -> None:
        soon = self.clock.now + timedelta(seconds=5)
        if ending == "unreachable":
            self.store.defer_destination("pacs", soon, "connection refused")
            return
        outcomes: dict[str, Outcome] = {
            "stored": Stored(),
            "deferred": Deferred(until=soon, reason="busy"),
            "refused": Refused(reason="no", status=0xC000),
        }
        for delivery in self.store.due_deliveries("pacs", 2):
            self.store.record_delivery(delivery, outcomes[ending])

    @invariant()
    def every_image_is_accounted_for(self) -> None:
        if not hasattr(self, "store"):
            return
        on_record: set[str] = set()
        for record in self._records():
            on_record |= {each.sop_instance_uid for each in record.instances}
            work = {each.instance_number: each for each in record.workitems if each.purpose is Purpose.FIRST}
            for each in record.instances:
                waiting = each.number in work and work[each.number].state in OPEN
                assert waiting == (each.state is InstanceState.RECEIVED), each
                assert (each.analysis is not None) == (each.state is InstanceState.ANALYSED)
                # an original goes on from the moment it is on record
                assert bool(each.forwarded) == (each.sop_instance_uid in self.forwarded)
        assert on_record == self.accepted

    def _records(self) -> list[StudyRecord]:
        return [self.store.show_study(line.number) for line in self.store.list_studies()]

    def _complete(self, item: Workitem) -> None:
        if item.kind is Kind.ANALYSE:
            self.store.complete_analysis(item, analysed(stored(ObjectKind.HEATMAP)))
            return
        study = self.store.study_for_report(item)
        objects = [stored(ObjectKind.SR)]
        if self.store.complete_report(item, objects, {"pacs": ALL_KINDS}):
            assert (not study.predecessors) == (study.revision == 1)

    def _drain(self) -> None:
        """Let everything run out that can, as a node does that nothing more happens to."""
        for _ in range(200):
            self.clock.forward(3700)
            self.store.expire_leases()
            self.store.keep_hours()
            items = self.store.claim("w", LEASE, limit=10)
            for item in items:
                self._complete(item)
            for delivery in self.store.due_deliveries("pacs", 100):
                self.store.record_delivery(delivery, Stored())
            if not items and all(line.open_workitems == 0 for line in self.store.list_studies()):
                return
        raise AssertionError("something waits for ever")

    def _all_told(self, record: StudyRecord) -> None:
        reports = [result.revision for result in record.results if result.revision is not None]
        assert reports == list(range(1, record.line.revision + 1))
        analysed_images = [each for each in record.instances if each.analysis is not None]
        if record.line.trouble is None:
            assert bool(reports) == bool(analysed_images)
            # a heatmap is sent with the report that speaks of it; not one of a reading that another replaced
            spoken_of = {each.sop_instance_uid for image in analysed_images for each in _objects(image)}
            for result in record.results:
                spoken = result.revision is not None or result.object.sop_instance_uid in spoken_of
                assert result.deliveries or not spoken
        ended = {each.state for result in record.results for each in result.deliveries}
        ended |= {each.state for image in record.instances for each in image.forwarded}
        assert ended <= {DeliveryState.STORED, DeliveryState.REFUSED}
        assert all(work.held_until is None for work in record.workitems)


def _objects(image: InstanceRecord) -> tuple[StoredResult, ...]:
    return image.analysis.objects if image.analysis else ()


@contextmanager
def in_memory() -> Iterator[Path]:
    # where the system offers it: thousands of commits, and this is not the test of durability
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 12), ("postgresql", 4)])
def test_every_image_ends_somewhere(kind: str, examples: int, request: pytest.FixtureRequest) -> None:
    database = in_memory if kind == "sqlite" else request.getfixturevalue("postgres").database
    run_state_machine_as_test(
        lambda: Node(database),  # type: ignore[arg-type]  # anything that gives a machine will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=35,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
