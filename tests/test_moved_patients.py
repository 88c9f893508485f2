"""Images that name another patient than their study: held, and what a person decides about them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from mcads_node.alerts.conditions import Kind as Trouble
from mcads_node.alerts.conditions import Limits, of_the_state
from mcads_node.errors import PermanentError
from mcads_node.result import ObjectKind
from mcads_node.workitems import FileKind, InstanceState, Kind, Receipt, Stored, StudyForReport, Workitems
from mcads_node.workitems.patients import OTHER_PATIENT, Patient, is_same_patient
from tests.workitems_samples import (
    ALL_KINDS,
    LEASE,
    QUIET,
    Clock,
    analyse_all,
    analysed,
    claim_one,
    fresh_store,
    received,
    stored,
)

A, B, C = "patient A", "patient B", "patient C"


@dataclass
class Ward:
    """One study, of which images come in the names of several patients."""

    store: Workitems
    clock: Clock

    def receive(
        self, image: str, patient: str | None, issuer: str | None = None, content: str | None = None
    ) -> Receipt:
        instance = received(
            image,
            at=self.clock.now,
            patient=patient,
            issuer=issuer,
            content=content or f"{image} of {patient} {issuer}",
        )
        return self.store.record_received(instance)

    def report(self) -> StudyForReport:
        """Analyse what waits, and write the report that is due then."""
        analyse_all(self.store, heatmaps=1)
        self.clock.forward(QUIET)
        item = claim_one(self.store, Kind.REPORT)
        study = self.store.study_for_report(item)
        assert self.store.complete_report(item, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
        return study

    def deliver(self) -> int:
        due = self.store.due_deliveries("pacs", 100)
        for delivery in due:
            assert self.store.record_delivery(delivery, Stored())
        return len(due)

    def retract(self) -> int:
        what = self.store.retractable(1)
        assert self.store.retract(what, stored(ObjectKind.KOS), "moved to another patient") is not None
        return len(what.objects)

    def states(self) -> list[str]:
        return [str(each.state) for each in self.store.show_study(1).instances]


@pytest.fixture
def ward(database: str | Path) -> Iterator[Ward]:
    clock = Clock()
    with fresh_store(database, clock) as store:
        yield Ward(store, clock)


@pytest.mark.parametrize(
    ("said", "known", "same"),
    [
        ((A, None), [], True),
        ((A, None), [(None, None)], True),
        ((None, None), [(A, None)], True),
        ((A, None), [(A, None)], True),
        ((B, None), [(A, None)], False),
        ((A, "X"), [(A, None)], True),
        ((A, None), [(A, "X")], True),
        ((A, "X"), [(A, "X")], True),
        ((A, "Y"), [(A, "X")], False),
        ((A, "Y"), [(A, "X"), (A, None)], False),
        # an issuer alone says nothing of whose it is
        ((None, "Y"), [(A, "X")], True),
        ((B, "X"), [(A, "X"), (B, "X")], True),
    ],
)
def test_who_is_the_same_patient(
    said: tuple[str | None, str | None], known: list[tuple[str | None, str | None]], same: bool
) -> None:
    others = [Patient(patient=patient, issuer=issuer) for patient, issuer in known]
    assert is_same_patient(Patient(patient=said[0], issuer=said[1]), others) is same


SOMEONE = st.builds(Patient, patient=st.sampled_from([None, A, B]), issuer=st.sampled_from([None, "X", "Y"]))


@given(said=SOMEONE, other=SOMEONE)
def test_of_two_images_either_may_come_first(said: Patient, other: Patient) -> None:
    assert is_same_patient(said, [other]) == is_same_patient(other, [said])
    assert is_same_patient(said, [said, other])


def test_an_image_of_another_patient_is_held_and_told(ward: Ward) -> None:
    assert ward.receive("1", A) is Receipt.RECORDED
    assert ward.receive("2", B) is Receipt.HELD
    # what is held comes again: nothing new
    assert ward.receive("2", B) is Receipt.DUPLICATE
    study = ward.report()
    assert len(study.images) == 1
    assert study.unread == (OTHER_PATIENT,)
    assert ward.states() == ["ANALYSED", "HELD"]
    (held,) = ward.store.list_held()
    assert (held.number, held.study_number, held.candidate, held.stands_in) == (2, 1, 1, False)
    assert ward.store.backlog().held == 1
    (alert,) = of_the_state(ward.store.backlog(), ward.store.stuck(), Limits())
    assert (alert.key, alert.kind) == ("held/1", Trouble.HELD)
    assert ("held", OTHER_PATIENT) in [(each.what, each.why) for each in ward.store.show_study(1).events]


def test_the_file_of_what_is_held_is_never_let_go(ward: Ward) -> None:
    ward.receive("1", A)
    ward.receive("2", B)
    ward.report()
    ward.deliver()
    assert ward.store.studies_with_old_files(FileKind.IMAGES, timedelta(0), 0, 10) == []
    ward.store.decline_held(1, "sent by mistake")
    assert ward.store.studies_with_old_files(FileKind.IMAGES, timedelta(0), 0, 10) == [1]


def test_a_patient_under_another_id(ward: Ward) -> None:
    ward.receive("1", A)
    ward.receive("2", B)
    ward.report()
    released = ward.store.release_held(1, new_patient=False)
    assert (released.images, released.conflicts) == (1, 0)
    study = ward.report()
    assert (study.revision, len(study.images), study.patient_number) == (2, 2, 1)
    assert study.predecessors
    # both IDs are known to be of this patient now, a third one is not
    assert [ward.receive(str(n), each) for n, each in enumerate((A, B, C), 3)] == [
        Receipt.RECORDED,
        Receipt.RECORDED,
        Receipt.HELD,
    ]


def test_an_image_that_is_not_of_the_study(ward: Ward) -> None:
    ward.receive("1", A)
    ward.receive("2", B)
    assert ward.store.decline_held(1, "sent by mistake", who="ona") == 1
    study = ward.report()
    assert (len(study.images), study.unread) == (1, ())
    assert ward.states() == ["ANALYSED", "DECLINED"]
    assert ward.receive("2", B) is Receipt.DUPLICATE
    # declining is no word on whose the study is
    assert ward.receive("3", B) is Receipt.HELD
    assert ward.receive("4", A) is Receipt.RECORDED
    (event,) = [each for each in ward.store.show_study(1).events if each.what == "declined"]
    assert event.who == "ona"


def test_a_study_that_a_pacs_moved_to_another_patient(ward: Ward) -> None:
    """The PACS corrects the Patient ID and sends the same images again: known UIDs, other bytes."""
    ward.receive("1", A)
    ward.receive("2", A)
    ward.report()
    assert ward.deliver() == 3
    assert [ward.receive("1", B), ward.receive("2", B)] == [Receipt.HELD] * 2
    assert [each.stands_in for each in ward.store.list_held()] == [True, True]
    with pytest.raises(PermanentError, match=r"3 object.*mcads-node retract 1.*--keep-results"):
        ward.store.release_held(1, new_patient=True)
    assert ward.retract() == 3
    released = ward.store.release_held(1, new_patient=True)
    assert (released.images, released.standing) == (2, 0)
    study = ward.report()
    assert (study.revision, study.patient_number, study.predecessors, study.unread) == (2, 2, (), ())
    assert [image.sop_instance_uid for image in study.images] == ["1.2.3.1.1", "1.2.3.1.2"]
    assert ward.states() == ["ANALYSED"] * 4
    # only the new patient's objects go out, and the note
    assert ward.deliver() == 3 + 1
    assert ward.receive("1", A) is Receipt.CONFLICT_AGAIN
    assert ward.receive("1", B) is Receipt.DUPLICATE
    assert ward.receive("3", A) is Receipt.HELD
    assert ward.receive("3", B) is Receipt.RECORDED
    assert ward.receive("3", B, content="other") is Receipt.CONFLICT
    # the next report is of the new patient alone, and names the one before
    study = ward.report()
    assert (study.revision, len(study.images), len(study.predecessors)) == (3, 3, 1)
    assert ward.retract() == 3 + 1 + 1


def test_what_was_sent_may_be_let_stand(ward: Ward) -> None:
    ward.receive("1", A)
    ward.report()
    ward.deliver()
    ward.receive("1", B)
    released = ward.store.release_held(1, new_patient=True, keep_results=True)
    assert (released.images, released.standing) == (1, 2)
    assert ward.report().predecessors == ()
    ward.deliver()
    # what is retracted now is the new patient's
    assert ward.retract() == 2
    standing = [each for each in ward.store.show_study(1).results if each.retracted_by is None]
    assert [each.revision for each in standing if each.object.kind is ObjectKind.SR] == [1]


def test_images_of_a_moved_study_that_come_later_take_the_place_of_those_before(ward: Ward) -> None:
    ward.receive("1", A)
    ward.receive("2", A)
    ward.receive("1", B)
    ward.store.release_held(1, new_patient=True)
    assert ward.receive("2", B) is Receipt.RECORDED
    assert len(ward.report().images) == 2


def test_nothing_that_was_under_way_for_the_patient_before_is_finished(ward: Ward) -> None:
    ward.receive("1", A)
    analyse_all(ward.store)
    ward.clock.forward(QUIET)
    ward.receive("2", A)
    being_analysed = claim_one(ward.store, Kind.ANALYSE)
    ward.receive("3", B)
    ward.store.release_held(1, new_patient=True)
    assert not ward.store.complete_analysis(being_analysed, analysed())
    assert ward.states() == ["ANALYSED", "DECLINED", "RECEIVED"]
    study = ward.report()
    assert [image.sop_instance_uid for image in study.images] == ["1.2.3.1.3"]
    assert study.unread == ()


def test_a_report_that_was_being_written_is_not_kept(ward: Ward) -> None:
    ward.receive("1", A)
    analyse_all(ward.store, heatmaps=1)
    ward.clock.forward(QUIET)
    being_written = claim_one(ward.store, Kind.REPORT)
    ward.receive("2", B)
    ward.store.release_held(1, new_patient=True)
    assert not ward.store.complete_report(being_written, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
    assert (ward.report().revision, ward.deliver()) == (1, 2)


def test_images_of_several_patients_are_told_apart(ward: Ward) -> None:
    ward.receive("1", A)
    for image, patient in (("2", B), ("3", C), ("4", B)):
        ward.receive(image, patient)
    assert [each.candidate for each in ward.store.list_held()] == [1, 2, 1]
    with pytest.raises(PermanentError, match=r"\(2, 3, 4\) name more than one patient.*--image"):
        ward.store.release_held(1, new_patient=True)
    assert ward.store.release_held(1, image=3, new_patient=True).images == 1
    assert ward.states() == ["DECLINED", "HELD", "RECEIVED", "HELD"]
    assert ward.store.decline_held(1, "of another study") == 2


def test_what_came_first_in_a_wrong_name_keeps_nobody_out(ward: Ward) -> None:
    ward.receive("1", A)
    assert ward.receive("2", B) is Receipt.HELD
    assert ward.receive("2", A) is Receipt.RECORDED
    assert len(ward.report().images) == 2
    # both have the same UID: of the same patient, the one that came first would count
    assert ward.store.release_held(1, new_patient=False).conflicts == 1


@pytest.mark.parametrize("decide", ["release", "decline"])
def test_where_nothing_is_held_there_is_nothing_to_decide(ward: Ward, decide: str) -> None:
    ward.receive("1", A)
    for image in (None, 1, 99):
        with pytest.raises(PermanentError, match="held"):
            if decide == "release":
                ward.store.release_held(1, image=image, new_patient=True)
            else:
                ward.store.decline_held(1, "why", image=image)


# --- whatever happens in whatever order: no report speaks of two patients


class Mixing(RuleBasedStateMachine):
    """One study, three patients, few images, and a person who decides at random."""

    def __init__(self, database: Callable[[], AbstractContextManager[str | Path]]) -> None:
        super().__init__()
        self.database = database
        self.resources = ExitStack()

    @initialize()
    def begin(self) -> None:
        clock = Clock()
        where = self.resources.enter_context(self.database())
        self.ward = Ward(self.resources.enter_context(fresh_store(where, clock)), clock)
        self.ward.receive("0", A)
        #: patients that the person has said to be one with each
        self.same: set[frozenset[str]] = set()

    def teardown(self) -> None:
        self.resources.close()

    @rule(image=st.sampled_from("012"), patient=st.sampled_from([A, B, C]))
    def receive(self, image: str, patient: str) -> None:
        before = {each.number for each in self.ward.store.list_held(100)}
        receipt = self.ward.receive(image, patient)
        if receipt is Receipt.HELD:
            assert {each.number for each in self.ward.store.list_held(100)} > before

    @rule(new=st.booleans())
    def release(self, new: bool) -> None:
        held = self.ward.store.list_held(100)
        if held:
            number = held[0].number
            self.ward.store.release_held(1, image=number, new_patient=new, keep_results=True)
            if not new:
                self.same.add(frozenset(self._said_now()))

    @rule()
    def decline(self) -> None:
        held = self.ward.store.list_held(100)
        if held:
            self.ward.store.decline_held(1, "at random", image=held[-1].number)

    @rule()
    def report(self) -> None:
        analyse_all(self.ward.store, heatmaps=1)
        self.ward.clock.forward(QUIET)
        for item in self.ward.store.claim("w", LEASE, kind=Kind.REPORT):
            study = self.ward.store.study_for_report(item)
            uids = [image.sop_instance_uid for image in study.images]
            assert len(set(uids)) == len(uids) > 0
            said = self._said_now()
            assert len(uids) == self._counted("AND i.state = 'ANALYSED'")[0]
            assert len(said) == 1 or any(said <= each for each in self.same), said
            assert self.ward.store.complete_report(item, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})

    @rule()
    def nothing_waits_but_for_a_person(self) -> None:
        self.report()
        (line,) = self.ward.store.list_studies()
        assert line.open_workitems == 0
        assert InstanceState.RECEIVED not in line.instances

    def _said_now(self) -> set[str]:
        """Who the images say that they are of which count now."""
        return self._counted("")[1]

    def _counted(self, condition: str) -> tuple[int, set[str]]:
        with self.ward.store._read() as tx:
            rows = tx.connection.exec_driver_sql(
                "SELECT i.patient FROM instances i JOIN studies s ON s.id = i.study_id"
                f" WHERE i.patient_number = s.patient_number {condition}"
            ).all()
        return len(rows), {row[0] for row in rows}


@contextmanager
def in_memory() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 15), ("postgresql", 4)])
def test_no_report_speaks_of_two_patients(kind: str, examples: int, request: pytest.FixtureRequest) -> None:
    database = in_memory if kind == "sqlite" else request.getfixturevalue("postgres").database
    run_state_machine_as_test(
        lambda: Mixing(database),  # type: ignore[arg-type]  # anything that gives a machine will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
