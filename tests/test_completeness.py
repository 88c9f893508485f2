"""When a study's report is due: its views are there, or it was quiet, or it has waited long enough."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcads_node.config import CompleteWhen
from mcads_node.errors import PermanentError
from mcads_node.instance import View
from mcads_node.result import ObjectKind
from mcads_node.workitems import Kind, ResultRecord, Workitems, WorkState
from mcads_node.workitems.completeness import has_views
from mcads_node.workitems.extent import NOT_YET
from tests.workitems_samples import (
    ALL_KINDS,
    LEASE,
    Clock,
    analysed,
    claim_one,
    fresh_store,
    received,
    stored,
)

TWO_VIEWS = {"PA": 1, "LATERAL": 1}


@pytest.mark.parametrize(
    ("expected", "seen", "complete"),
    [
        ([], [View.PA], False),
        ([{}], [View.PA], False),
        ([{"PA": 1}], [View.PA], True),
        ([TWO_VIEWS], [View.PA], False),
        ([TWO_VIEWS], [View.LATERAL, View.PA], True),
        ([{"PA": 2}], [View.PA, View.AP], False),
        ([{"FRONTAL": 2}], [View.PA, View.AP], True),
        ([{"FRONTAL": 1, "LATERAL": 1}], [View.AP, View.LATERAL], True),
        ([{"FRONTAL": 1}], [View.UNKNOWN, View.OTHER, View.LATERAL], False),
        # images of different routes: all that any of them expects
        ([{"PA": 1}, {"LATERAL": 1}], [View.PA, View.PA], False),
        ([{"PA": 1}, {}], [View.PA, View.OTHER], True),
    ],
)
def test_views(expected: list[dict[str, int]], seen: list[View], complete: bool) -> None:
    assert has_views(expected, seen) is complete


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["PA", "LATERAL"], TWO_VIEWS),
        (["PA", "PA"], {"PA": 2}),
        ("FRONTAL", {"FRONTAL": 1}),
        ({"AP": 3}, {"AP": 3}),
        ([], {}),
    ],
)
def test_views_may_be_written_as_a_list_or_as_numbers(written: object, read: dict[str, int]) -> None:
    assert CompleteWhen.model_validate({"views": written}).views == read


@pytest.mark.parametrize(
    "written", [["SIDE"], {"PA": 0}, {"PA": 21}, {"UNKNOWN": 1}, [["PA"]], [None], 7, "pa"]
)
def test_views_that_are_none_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match="views"):
        CompleteWhen.model_validate({"views": written})


@dataclass
class OneStudy:
    """A study on its way; every image has the same route."""

    store: Workitems
    clock: Clock
    quiet: float = 10.0
    views: dict[str, int] = field(default_factory=dict)
    max_wait: float | None = None
    images: int = 0

    def receive(self) -> None:
        self.images += 1
        self.store.record_received(received(str(self.images), at=self.clock.now))

    def analyse(self, view: View = View.PA) -> None:
        """Analyse the image that has waited longest."""
        outcome = replace(
            analysed(stored(ObjectKind.HEATMAP), quiet=self.quiet),
            view=view,
            expected_views=self.views,
            max_wait_seconds=self.max_wait,
        )
        assert self.store.complete_analysis(claim_one(self.store, Kind.ANALYSE), outcome)

    def report(self) -> tuple[int, int, tuple[str, ...]] | None:
        """Write the report if it is due: its revision, its images, and what it says was not read."""
        items = self.store.claim("w", LEASE, kind=Kind.REPORT)
        if not items:
            return None
        study = self.store.study_for_report(items[0])
        assert self.store.complete_report(items[0], [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
        assert bool(study.predecessors) == (study.revision > 1)
        return study.revision, len(study.images), study.unread


@pytest.fixture
def study(database: str | Path) -> Iterator[OneStudy]:
    clock = Clock()
    with fresh_store(database, clock) as store:
        yield OneStudy(store, clock)


def test_it_is_reported_as_soon_as_its_views_are_analysed(study: OneStudy) -> None:
    study.views, study.quiet = TWO_VIEWS, 300
    study.receive()
    study.receive()
    study.analyse(View.PA)
    assert study.report() is None
    study.analyse(View.LATERAL)
    assert study.report() == (1, 2, ())


def test_what_waits_when_the_views_are_there_is_named_and_makes_a_revised_report(study: OneStudy) -> None:
    study.views = TWO_VIEWS
    for _ in range(3):
        study.receive()
    study.analyse(View.PA)
    study.analyse(View.LATERAL)
    assert study.report() == (1, 2, (NOT_YET,))
    # the views were there before, so that nothing hurries now
    study.analyse(View.PA)
    assert study.report() is None
    study.clock.forward(10)
    assert study.report() == (2, 3, ())


def test_a_late_view_that_was_expected_is_reported_at_once(study: OneStudy) -> None:
    study.views = TWO_VIEWS
    study.receive()
    study.analyse(View.PA)
    study.clock.forward(10)
    assert study.report() == (1, 1, ())
    study.receive()
    study.analyse(View.LATERAL)
    assert study.report() == (2, 2, ())


def test_it_waits_no_longer_than_it_may(study: OneStudy) -> None:
    study.quiet, study.max_wait = 100, 60
    study.receive()
    study.clock.forward(50)
    study.receive()
    study.analyse()
    study.clock.forward(9)
    assert study.report() is None
    study.clock.forward(1)
    assert study.report() == (1, 1, (NOT_YET,))
    # a revised report waits anew: each late image would make one of its own otherwise
    study.receive()
    study.analyse()
    study.clock.forward(59)
    assert study.report() is None
    study.clock.forward(1)
    assert study.report() == (2, 2, (NOT_YET,))


def test_without_a_limit_it_waits_for_its_images(study: OneStudy) -> None:
    study.receive()
    study.receive()
    study.analyse()
    study.clock.forward(7200)
    assert study.report() is None
    study.analyse()
    assert study.report() == (1, 2, ())


def test_a_report_that_failed_waits_for_its_next_attempt_however_late_it_is(study: OneStudy) -> None:
    study.views = {"PA": 1}
    study.receive()
    study.analyse()
    item = claim_one(study.store, Kind.REPORT)
    study.store._random = lambda: 1.0
    assert study.store.fail(item, "the worker was lost", permanent=False) is WorkState.SCHEDULED
    (due_at,) = [each.due_at for each in study.store.show_study(1).workitems if each.kind is Kind.REPORT]
    assert due_at > study.clock.now
    assert study.report() is None
    study.clock.now = due_at
    assert study.report() == (1, 1, ())


def test_a_report_that_is_given_back_is_due_as_before(study: OneStudy) -> None:
    study.views, study.quiet = {"PA": 1}, 300
    study.receive()
    study.receive()
    study.analyse()
    assert study.store.release(claim_one(study.store, Kind.REPORT), "the node is shutting down")
    assert study.report() == (1, 1, (NOT_YET,))


# --- whatever happens in whatever order


@dataclass
class _Image:
    received_at: datetime
    view: View | None = None
    analysed_at: datetime | None = None
    covered: bool = False


@dataclass
class Model:
    """What the documentation says, reckoned from the images alone."""

    quiet: float
    views: dict[str, int]
    max_wait: float | None
    images: list[_Image] = field(default_factory=list)

    def is_due(self, now: datetime) -> bool:
        read = [each for each in self.images if each.analysed_at is not None]
        new, told = [each for each in read if not each.covered], [each for each in read if each.covered]
        if not new:
            return False
        if self._complete(read) and not self._complete(told):
            return True
        # told or new, an image's wait ends when it would have, had nothing come after it
        begun = [each.analysed_at for each in new] if told else [self.images[0].received_at]
        if self.max_wait is not None and now >= min(filter(None, begun)) + timedelta(seconds=self.max_wait):
            return True
        is_quiet = now >= max(each.received_at for each in new) + timedelta(seconds=self.quiet)
        return is_quiet and len(read) == len(self.images)

    def _complete(self, images: list[_Image]) -> bool:
        seen = Counter(each.view for each in images)
        return bool(self.views) and all(seen[View(name)] >= number for name, number in self.views.items())


STEPS = st.lists(
    st.one_of(
        st.just("receive"),
        st.sampled_from([View.PA, View.LATERAL, View.UNKNOWN]),
        st.sampled_from([1, 9, 10, 31, 60]),
        st.just("report"),
    ),
    max_size=25,
)


@contextmanager
def in_memory() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 30), ("postgresql", 8)])
def test_a_report_is_due_exactly_when_it_is_said_to_be(
    kind: str, examples: int, request: pytest.FixtureRequest
) -> None:
    make = in_memory if kind == "sqlite" else request.getfixturevalue("postgres").database

    @given(
        quiet=st.sampled_from([0.0, 10.0, 60.0]),
        views=st.sampled_from([{}, {"PA": 1}, TWO_VIEWS]),
        max_wait=st.sampled_from([None, 30.0, 60.0]),
        steps=STEPS,
    )
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def whatever_happens(
        quiet: float, views: dict[str, int], max_wait: float | None, steps: list[object]
    ) -> None:
        _play(make, Model(quiet=quiet, views=views, max_wait=max_wait), steps)

    whatever_happens()


def _play(make: Callable[[], AbstractContextManager[str | Path]], model: Model, steps: list[object]) -> None:
    clock = Clock()
    with make() as where, fresh_store(where, clock) as store:
        study = OneStudy(store, clock, quiet=model.quiet, views=model.views, max_wait=model.max_wait)
        for step in steps:
            _take(step, study, model)
        told = max((each.revision or 0 for each in _reports(store)), default=0)
        assert told == len(_reports(store))


def _take(step: object, study: OneStudy, model: Model) -> None:
    now = study.clock.now
    waiting = [each for each in model.images if each.analysed_at is None]
    if step == "receive":
        study.receive()
        model.images.append(_Image(received_at=now))
    elif isinstance(step, View) and waiting:
        study.analyse(step)
        waiting[0].view, waiting[0].analysed_at = step, now
    elif isinstance(step, int):
        study.clock.forward(step)
    elif step == "report":
        due = model.is_due(now)
        made = study.report()
        assert (made is not None) == due
        for each in model.images if made else []:
            each.covered = each.analysed_at is not None


def _reports(store: Workitems) -> list[ResultRecord]:
    try:
        record = store.show_study(1)
    except PermanentError:
        return []
    return [each for each in record.results if each.revision is not None]
