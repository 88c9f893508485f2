"""Key Object Selections: the positive images, and the note that takes results back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from mcads_node.errors import ReportImpossible
from mcads_node.instance import View
from mcads_node.product import own_output
from mcads_node.report import codes, key_objects
from mcads_node.report.basic_text import basic_text_report
from mcads_node.report.key_objects import RejectedObject, rejection_note
from mcads_node.report.sr import measurement_report
from mcads_node.result import ImageReading, ObjectKind, Rendition, ResultObject
from tests import referees
from tests.report_samples import ALGORITHM, CAUTION, CONTEXT, UNFIT, as_received, bare, full, reading
from tests.report_sources import SOURCES

GOLDEN = Path(__file__).parent / "golden"
DEMONSTRATION = replace(ALGORITHM, caution=CAUTION)
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SOME = [RejectedObject(sop_class_uid=CAPTURE, sop_instance_uid="2.25.5", series_instance_uid="2.25.6")]


def _readings() -> list[ImageReading]:
    return [
        reading(as_received(full(2)), view=View.LATERAL, checks=(UNFIT,)),
        replace(reading(as_received(full()), threshold=0.8), heatmaps=((CAPTURE, "2.25.5", "2.25.6"),)),
    ]


def _selection(readings: list[ImageReading] | None = None) -> ResultObject:
    selected = key_objects.key_objects(_readings() if readings is None else readings, DEMONSTRATION, CONTEXT)
    assert selected is not None
    return selected


@cache
def _rejected() -> list[RejectedObject]:
    results = [
        measurement_report(_readings(), ALGORITHM, CONTEXT),
        basic_text_report(_readings(), ALGORITHM, CONTEXT),
        _selection(),
    ]
    return [
        RejectedObject(
            sop_class_uid=result.sop_class_uid,
            sop_instance_uid=result.sop_instance_uid,
            series_instance_uid=result.series_instance_uid,
        )
        for result in results
    ] + SOME


def _note(reason: str = "Read with the wrong model.") -> ResultObject:
    return rejection_note(as_received(full()), _rejected(), reason, CONTEXT)


def _read(result: ResultObject) -> Dataset:
    return pydicom.dcmread(BytesIO(result.data))


def _referenced(document: Dataset) -> dict[str, str]:
    """Value type by SOP Instance UID of what the content tree refers to."""
    return {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID): str(item.ValueType)
        for item in document.ContentSequence
        if "ReferencedSOPSequence" in item
    }


def _evidence(document: Dataset) -> Iterator[tuple[str, str]]:
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == document.StudyInstanceUID
    for series in study.ReferencedSeriesSequence:
        for instance in series.ReferencedSOPSequence:
            yield str(instance.ReferencedSOPInstanceUID), str(series.SeriesInstanceUID)


@pytest.mark.parametrize("name", SOURCES)
def test_dciodvfy_accepts_both_kinds_for_any_source(name: str) -> None:
    source = SOURCES[name]()
    note = rejection_note(source, _rejected(), "Wrong patient.", CONTEXT)
    for result in (_selection([reading(source)]), note):
        verdicts = referees.dciodvfy(result.data)
        assert (verdicts.errors, verdicts.warnings) == ((), ())


def test_dcentvfy_finds_all_documents_in_agreement() -> None:
    report = measurement_report(_readings(), DEMONSTRATION, CONTEXT)
    assert referees.dcentvfy([report.data, _selection().data, _note().data]).errors == ()


@pytest.mark.parametrize(("name", "make"), [("key_objects", _selection), ("rejection_note", _note)])
def test_dsrdump_reads_what_a_person_has_read(name: str, make: Callable[[], ResultObject]) -> None:
    assert referees.dsrdump(make().data) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_the_positive_image_and_its_heatmap_are_selected_and_nothing_else() -> None:
    document = _read(_selection())
    assert document.ConceptNameCodeSequence[0].CodeValue == "113000"
    assert _referenced(document) == {"1.2.826.0.1.3680043.10.1.1": "IMAGE", "2.25.5": "IMAGE"}
    assert dict(_evidence(document)) == {
        "1.2.826.0.1.3680043.10.1.1": "1.2.826.0.1.3680043.10.3",
        "2.25.5": "2.25.6",
    }
    described = [item.TextValue for item in document.ContentSequence if item.ValueType == "TEXT"][-1]
    assert described.startswith(f"{CAUTION}. MCADS AI — 2 findings above threshold: Fibrosis, Pleural")
    assert "not verified" in described


@pytest.mark.parametrize(
    "images",
    [
        [reading(bare(), threshold=1.0)],
        [replace(reading(bare(), checks=(UNFIT,)), heatmaps=((CAPTURE, "2.25.5", "2.25.6"),))],
    ],
)
def test_where_nothing_is_positive_nothing_is_selected(images: list[ImageReading]) -> None:
    assert key_objects.key_objects(images, ALGORITHM, CONTEXT) is None


def test_a_selection_follows_from_its_arguments_alone() -> None:
    assert _selection(_readings()[::-1]).data == _selection().data
    lithuanian = Rendition(kind=ObjectKind.KOS, language="lt")
    other = key_objects.key_objects(_readings(), DEMONSTRATION, CONTEXT, lithuanian)
    assert other is not None
    assert other.sop_instance_uid != _selection().sop_instance_uid
    assert other.variant == "language=lt"
    without = [replace(each, heatmaps=()) for each in _readings()]
    assert _selection(without).sop_instance_uid != _selection().sop_instance_uid


def test_a_rejection_note_names_every_object_and_the_reason() -> None:
    document = _read(_note())
    assert document.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert dict(_evidence(document)) == {
        each.sop_instance_uid: each.series_instance_uid for each in _rejected()
    }
    told = _referenced(document)
    assert sorted(told.values()) == ["COMPOSITE", "COMPOSITE", "COMPOSITE", "IMAGE"]
    assert told["2.25.5"] == "IMAGE"
    assert "Read with the wrong model." in [item.get("TextValue") for item in document.ContentSequence]
    assert own_output(document)
    assert document.Modality == "KO"
    assert document.SeriesInstanceUID != _selection().series_instance_uid


def test_a_rejection_note_may_be_for_the_patient_s_safety() -> None:
    note = rejection_note(full(), _rejected(), "No.", CONTEXT, 2, key_objects.REJECTED_FOR_SAFETY)
    assert _read(note).ConceptNameCodeSequence[0].CodeValue == "113037"
    assert _read(note).InstanceNumber == 2
    assert referees.dciodvfy(note.data).errors == ()


def test_notes_that_say_something_else_are_other_objects() -> None:
    notes = [
        _note(),
        _note("Another reason."),
        rejection_note(full(), _rejected()[:1], "Read with the wrong model.", CONTEXT),
        rejection_note(full(), _rejected(), "Read with the wrong model.", CONTEXT, 2),
    ]
    assert len({note.sop_instance_uid for note in notes}) == 4
    assert len({note.series_instance_uid for note in notes}) == 1
    again = rejection_note(as_received(full()), _rejected()[::-1] * 2, "Read with the wrong model.", CONTEXT)
    assert again.data == _note().data


@pytest.mark.parametrize(
    ("rejected", "reason", "source", "complaint"),
    [
        ([], "Wrong.", bare(), "needs objects"),
        (SOME, " \n", bare(), "a reason"),
        (SOME, "Wrong.", Dataset(), r"Study Instance UID \(0020,000D\)"),
    ],
)
def test_what_cannot_be_rejected_gives_a_clear_reason(
    rejected: list[RejectedObject], reason: str, source: Dataset, complaint: str
) -> None:
    with pytest.raises(ReportImpossible, match=complaint):
        rejection_note(source, rejected, reason, CONTEXT)


def test_another_title_is_refused() -> None:
    with pytest.raises(ReportImpossible, match="Image Quality"):
        rejection_note(bare(), _rejected(), "Wrong.", CONTEXT, title=codes.IMAGE_QUALITY)


def test_a_reason_with_control_characters_is_still_text() -> None:
    note = _note("two\nlines\x00 \x1b[31m")
    assert "two lines [31m" in [item.get("TextValue") for item in _read(note).ContentSequence]
    assert referees.dciodvfy(note.data).errors == ()
