"""The Basic Text SR: valid for every source, and saying the same as the measurements."""

from __future__ import annotations

import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Presence
from mcads_node.instance import View
from mcads_node.report import wording
from mcads_node.report.basic_text import basic_text_report
from mcads_node.result import ImageReading, ObjectKind, Rendition, ResultObject
from tests import referees
from tests.report_samples import (
    ALGORITHM,
    CALIBRATED,
    CAUTION,
    CONTEXT,
    DOUBTFUL,
    UNFIT,
    as_received,
    bare,
    calibrated,
    full,
    reading,
)
from tests.report_sources import NAMES, SOURCES

GOLDEN = Path(__file__).parent / "golden"
DEMONSTRATION = replace(ALGORITHM, caution=CAUTION)
PREDECESSOR = ("1.2.840.10008.5.1.4.1.1.88.11", "2.25.71", "2.25.72")
LITHUANIAN = Rendition(kind=ObjectKind.BASIC_TEXT_SR, language="lt")


def _readings() -> list[ImageReading]:
    return [
        reading(as_received(full(2)), view=View.LATERAL, checks=(DOUBTFUL, UNFIT)),
        reading(as_received(full()), threshold=0.8),
    ]


def _rich() -> ResultObject:
    context = replace(CONTEXT, revision=2, predecessor=PREDECESSOR, unread=("One image had no pixels.",))
    return basic_text_report(_readings(), DEMONSTRATION, context)


def _read(result: ResultObject) -> Dataset:
    return pydicom.dcmread(BytesIO(result.data))


def _texts(result: ResultObject, section: str) -> list[str]:
    (found,) = [
        item
        for item in _read(result).ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == section
    ]
    return [str(item.TextValue) for item in found.ContentSequence]


@pytest.mark.parametrize("name", SOURCES)
def test_dciodvfy_accepts_the_text_of_any_source(name: str) -> None:
    result = basic_text_report([reading(SOURCES[name]())], ALGORITHM, CONTEXT)
    verdicts = referees.dciodvfy(result.data)
    assert (verdicts.errors, verdicts.warnings) == ((), ())
    if name in NAMES:
        assert str(_read(result).PatientName) == NAMES[name]


def test_dciodvfy_accepts_a_revised_text_in_lithuanian() -> None:
    context = replace(CONTEXT, revision=2, predecessor=PREDECESSOR)
    result = basic_text_report(_readings(), DEMONSTRATION, context, LITHUANIAN)
    assert referees.dciodvfy(result.data).errors == ()
    assert "slenkstį" in _texts(result, "Summary")[0]
    assert result.variant == LITHUANIAN.variant
    language = _read(result).ContentSequence[0].ConceptCodeSequence[0]
    assert (language.CodeValue, language.CodeMeaning) == ("lt", "Lithuanian")


def test_dsrdump_reads_what_a_person_has_read() -> None:
    assert referees.dsrdump(_rich().data) == (GOLDEN / "basic_text.txt").read_text(encoding="utf-8")


def test_headline_and_caution_come_first_then_what_is_wrong() -> None:
    headline, caution, revision, worst, mild, unread = _texts(_rich(), "Summary")
    assert headline == "MCADS AI — 2 findings above threshold"
    assert caution == f"{CAUTION}. AI result for research use — not verified"
    assert "replaces report 2.25.71" in revision
    assert worst.endswith(UNFIT.reason)
    assert mild.endswith(DOUBTFUL.reason)
    assert unread == "Not read: One image had no pixels."


def test_present_findings_come_first_and_every_label_is_named_once() -> None:
    image = _readings()[1]
    texts = _texts(basic_text_report([image], ALGORITHM, CONTEXT), "Findings")
    present = [finding for finding in image.findings if finding.presence is Presence.PRESENT]
    assert len(texts) == len(present) + 1
    for text in texts[:-1]:
        assert "above threshold, uncalibrated score 0." in text
        assert "threshold 0.80" in text
    assert {text.split(". ")[1].split(":")[0] for text in texts[:-1]} == {
        wording.human_label(finding.label) for finding in present
    }
    assert "Below threshold (not excluded): " in texts[-1]
    assert max(len(line) for text in texts for line in text.split("\r\n")) <= 100
    everything = " ".join(texts).replace("\r\n", " ")
    for finding in image.findings:
        assert everything.count(f"{wording.human_label(finding.label)} {finding.score:.2f}") == (
            finding.presence is Presence.ABSENT
        )


def test_of_an_unfit_image_nothing_is_claimed() -> None:
    result = basic_text_report([reading(bare(), checks=(UNFIT,))], ALGORITHM, CONTEXT)
    (text,) = _texts(result, "Findings")
    assert "Undetermined, nothing is claimed: " in text
    assert _texts(result, "Summary")[0] == "MCADS AI — Undetermined"


def test_nothing_found_is_not_called_normal() -> None:
    result = basic_text_report([reading(bare(), threshold=1.0)], ALGORITHM, CONTEXT)
    assert _texts(result, "Summary")[2] == wording.NOT_NORMAL


def test_differing_thresholds_are_told_with_each_finding() -> None:
    image = reading(bare(), threshold=1.0)
    first = replace(image.findings[0], threshold=0.5)
    result = basic_text_report([replace(image, findings=(first, *image.findings[1:]))], ALGORITHM, CONTEXT)
    (text,) = _texts(result, "Findings")
    assert "Atelectasis 0.07 [0.50]" in text
    assert "Consolidation 0.38 [1.00]" in text


def test_a_calibrated_score_is_called_so() -> None:
    result = basic_text_report([calibrated(each) for each in _readings()], CALIBRATED, CONTEXT)
    everything = _texts(result, "Findings") + _texts(result, "Current Procedure Descriptions")
    assert "uncalibrated" not in " ".join(everything)
    assert re.search(r"probability 0\.\d+ \(calibrated at North Clinic\),\s+threshold 0\.64", everything[0])


def test_every_sentence_names_its_image_and_the_evidence_has_it() -> None:
    document = _read(_rich())
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    evidence = {
        instance.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    sections = [item for item in document.ContentSequence if item.ValueType == "CONTAINER"]
    findings = sections[1]
    named = {
        item.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in findings.ContentSequence
    }
    assert named == evidence == {"1.2.826.0.1.3680043.10.1.1", "1.2.826.0.1.3680043.10.1.2"}


def test_equal_arguments_give_equal_bytes_in_any_order_of_images() -> None:
    one = basic_text_report(_readings(), ALGORITHM, CONTEXT)
    assert basic_text_report(_readings()[::-1], ALGORITHM, CONTEXT).data == one.data
    other = basic_text_report(_readings(), ALGORITHM, CONTEXT, LITHUANIAN)
    assert other.sop_instance_uid != one.sop_instance_uid


def test_without_an_image_there_is_no_text() -> None:
    with pytest.raises(ReportImpossible, match="no image"):
        basic_text_report([], ALGORITHM, CONTEXT)
