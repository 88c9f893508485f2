"""The Structured Report, before judges that nobody here wrote, over the sources that hospitals send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from highdicom.sr import srread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dicom_codes
from pydicom.sr.coding import Code

from mcads_node import __version__
from mcads_node.errors import ReportImpossible
from mcads_node.finding import Finding, Presence
from mcads_node.instance import View
from mcads_node.report import codes
from mcads_node.report.identity import SERIES_NUMBER
from mcads_node.report.readback import findings_in
from mcads_node.report.sr import SOP_CLASSES, measurement_report
from mcads_node.result import ImageReading, ObjectKind, Rendition, ResultObject
from tests import referees
from tests.headers import header
from tests.report_samples import (
    ALGORITHM,
    CALIBRATED,
    CAUTION,
    CONTEXT,
    DOUBTFUL,
    LABELS,
    UNFIT,
    as_received,
    bare,
    calibrated,
    full,
    reading,
)
from tests.report_sources import NAMES, SOURCES
from tests.shared_data import data_dir

GOLDEN = Path(__file__).parent / "golden"
PREDECESSOR = (SOP_CLASSES[0], "2.25.71", "2.25.72")


def _rendition(sop_class_uid: str) -> Rendition:
    return Rendition(kind=ObjectKind.SR, sop_class_uid=sop_class_uid)


def _read(result: ResultObject) -> Dataset:
    return pydicom.dcmread(BytesIO(result.data))


def _measurement_groups(result: ResultObject) -> list[Any]:
    """Read all TID 1501 groups as highdicom does."""
    content: Any = srread(BytesIO(result.data)).content
    groups: list[Any] = content.get_image_measurement_groups()
    return groups


def _items(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence", ()):
        yield from _items(child)


def _code(item: Dataset) -> tuple[str, str]:
    return str(item.CodeValue), str(item.CodingSchemeDesignator)


def _named_items(document: Dataset, code: Code) -> list[Dataset]:
    wanted = (code.value, code.scheme_designator)
    return [
        item
        for item in _items(document)
        # images of a library have no name
        if "ConceptNameCodeSequence" in item and _code(item.ConceptNameCodeSequence[0]) == wanted
    ]


def _pa_and_lateral() -> list[ImageReading]:
    lateral = as_received(full(2))
    lateral.SeriesInstanceUID = "1.2.826.0.1.3680043.10.4"
    return [
        reading(lateral, view=View.LATERAL, checks=(UNFIT, DOUBTFUL), labels=LABELS[-3:]),
        reading(as_received(full()), labels=LABELS[-3:]),
    ]


def _rich() -> ResultObject:
    """Make a report in which everything occurs."""
    context = replace(CONTEXT, revision=2, predecessor=PREDECESSOR, unread=("One image had no pixels.",))
    return measurement_report(_pa_and_lateral(), replace(ALGORITHM, caution=CAUTION), context)


@pytest.mark.parametrize("name", SOURCES)
def test_dciodvfy_and_srread_accept_the_report_of_any_source(name: str) -> None:
    result = measurement_report([reading(SOURCES[name]())], ALGORITHM, CONTEXT)
    verdicts = referees.dciodvfy(result.data)
    assert (verdicts.errors, verdicts.warnings) == ((), ())
    assert len(_measurement_groups(result)) == 1 + len(LABELS)
    if name in NAMES:
        assert str(_read(result).PatientName) == NAMES[name]


def test_the_judge_condemns_what_is_wrong() -> None:
    broken = _read(measurement_report([reading(bare())], ALGORITHM, CONTEXT))
    del broken.SeriesInstanceUID
    broken.PatientSex = "X"
    buffer = BytesIO()
    broken.save_as(buffer)
    assert len(referees.dciodvfy(buffer.getvalue()).errors) >= 1


@pytest.mark.parametrize("sop_class_uid", SOP_CLASSES)
def test_dciodvfy_accepts_every_sop_class_and_a_rich_report(sop_class_uid: str) -> None:
    context = replace(CONTEXT, revision=2, predecessor=PREDECESSOR, unread=("One image had no pixels.",))
    result = measurement_report(_pa_and_lateral(), ALGORITHM, context, _rendition(sop_class_uid))
    verdicts = referees.dciodvfy(result.data)
    assert (verdicts.errors, verdicts.warnings) == ((), ())
    assert _read(result).SOPClassUID == result.sop_class_uid == sop_class_uid


@pytest.mark.parametrize(
    "file",
    ["CR-MONO1-10-chest_fuji_headerless.dcm", "nema_RG1_J2KI.dcm", "nhsx_google_nih_dx.dcm"],
)
def test_dciodvfy_and_dsrdump_accept_the_reports_of_real_radiographs(file: str) -> None:
    source = pydicom.dcmread(data_dir() / "dicom" / file, force=True, stop_before_pixels=True)
    result = measurement_report([reading(source)], ALGORITHM, CONTEXT)
    verdicts = referees.dciodvfy(result.data)
    assert (verdicts.errors, verdicts.warnings) == ((), ())
    assert str(_read(result).StudyInstanceUID) == source.StudyInstanceUID
    assert referees.dsrdump(result.data).count("Measurement Group") == 1 + len(LABELS)


def test_dcentvfy_finds_two_revisions_in_agreement() -> None:
    readings = _pa_and_lateral()
    revised = replace(CONTEXT, revision=2, predecessor=PREDECESSOR)
    objects = [measurement_report(readings, ALGORITHM, context).data for context in (CONTEXT, revised)]
    assert referees.dcentvfy(objects).errors == ()


def test_dsrdump_reads_what_a_person_has_read() -> None:
    text = referees.dsrdump(_rich().data).replace(f"mcads-node {__version__}", "mcads-node <version>")
    assert text == (GOLDEN / "sr_pa_lateral.txt").read_text(encoding="utf-8")


def test_every_label_is_there_with_score_threshold_presence_and_image() -> None:
    result = measurement_report([reading(bare())], ALGORITHM, CONTEXT)
    groups = _measurement_groups(result)[1:]
    expected = reading(bare()).findings
    assert len(groups) == len(expected) == 18
    for group, finding in zip(groups, expected, strict=True):
        coded = codes.finding_code(finding.label)
        score, threshold = group.get_measurements()
        (presence,) = group.get_qualitative_evaluations(codes.PRESENCE)
        (image,) = group.source_images
        assert group.finding_type == coded.code
        assert [site.value for site in group.finding_sites] == ([coded.site] if coded.site else [])
        assert score.name == codes.CERTAINTY_OF_FINDING
        assert (score.value, score.unit) == (pytest.approx(100 * finding.score, abs=1e-5), codes.PERCENT)
        assert (threshold.name, threshold.value) == (codes.THRESHOLD, 50.0)
        assert presence.value == codes.PRESENCES[finding.presence]
        assert image.referenced_sop_instance_uid == bare().SOPInstanceUID
    assert {finding.presence for finding in expected} == {Presence.PRESENT, Presence.ABSENT}


def test_a_calibrated_score_is_a_probability_and_only_then() -> None:
    document = _read(measurement_report([calibrated(reading(bare()))], CALIBRATED, CONTEXT))
    assert len(_named_items(document, codes.PROBABILITY)) == 18
    assert _named_items(document, codes.CERTAINTY_OF_FINDING) == []
    units = {
        _code(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0])
        for item in _items(document)
        if item.ValueType == "NUM"
    }
    assert units == {("1", "UCUM")}


def test_only_what_is_calibrated_is_a_probability_and_the_parameters_name_the_calibration() -> None:
    few = replace(CALIBRATED.calibration, labels=LABELS[:2]) if CALIBRATED.calibration else None
    image = calibrated(reading(bare()), LABELS[:2])
    document = _read(measurement_report([image], replace(CALIBRATED, calibration=few), CONTEXT))
    assert len(_named_items(document, codes.PROBABILITY)) == 2
    assert len(_named_items(document, codes.CERTAINTY_OF_FINDING)) == 16
    first = _named_items(document, codes.PROBABILITY)[0].MeasuredValueSequence[0]
    assert float(first.NumericValue) == pytest.approx(image.findings[0].score ** 2, abs=1e-5)
    parameters = {item.TextValue for item in _items(document) if item.ValueType == "TEXT"}
    said = "scores: probabilities calibrated at North Clinic (platt);"
    assert any(text.startswith(said) for text in parameters)
    assert f"calibration SHA-256: {'89abcdef' * 8}" in parameters
    (read_back,) = findings_in(measurement_report([image], CALIBRATED, CONTEXT).data).values()
    assert [each.probability is not None for each in read_back] == [True] * 2 + [False] * 16


def test_where_the_input_is_unfit_the_quality_group_says_so_and_nothing_is_claimed() -> None:
    document = _read(measurement_report([reading(bare(), checks=(DOUBTFUL, UNFIT))], ALGORITHM, CONTEXT))
    presences = {_code(item.ConceptCodeSequence[0]) for item in _named_items(document, codes.PRESENCE)}
    (quality,) = _named_items(document, codes.QUALITY_ASSESSMENT)
    comments = [item.TextValue for item in _named_items(document, codes.COMMENT)]
    assert presences == {("373068000", "SCT")}
    assert _code(quality.ConceptCodeSequence[0]) == ("111235", "DCM")
    assert [text for text in comments if ":" in text] == [
        f"Warning (view): {DOUBTFUL.reason}",
        f"Undetermined (polarity): {UNFIT.reason}",
    ]
    (group,) = [item for item in _items(document) if quality in item.get("ContentSequence", ())]
    assert [item.TextValue for item in group.ContentSequence[-2:]] == comments[:2]


def test_caution_notice_and_unread_images_are_said() -> None:
    document = _read(_rich())
    comments = [item.TextValue for item in _named_items(document, codes.COMMENT)]
    parameters = {item.TextValue for item in _items(document) if "caution:" in item.get("TextValue", "")}
    # after those of the checks, which stand in their groups
    assert comments[-2] == f"{CAUTION}. AI result for research use — not verified"
    assert comments[-1] == "Not read: One image had no pixels."
    assert parameters == {f"caution: {CAUTION}"}
    assert CAUTION in document.SeriesDescription


def test_the_document_says_what_it_is() -> None:
    document = _read(_rich())
    assert _code(document.ConceptNameCodeSequence[0]) == ("126000", "DCM")
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert document.PreliminaryFlag == "PRELIMINARY"
    assert document.SpecificCharacterSet == "ISO_IR 192"
    assert document.SeriesNumber == SERIES_NUMBER[ObjectKind.SR]
    assert document.InstanceNumber == 2
    assert (document.ContentDate, document.ContentTime) == ("20240507", "010304")
    assert (document.SeriesDate, document.SeriesTime) == ("20240507", "005801")
    assert document.TimezoneOffsetFromUTC == "+0300"
    assert document.ReferencedRequestSequence[0].RequestedProcedureID == "RP1"
    containers = [item for item in _items(document) if item.ValueType == "CONTAINER"]
    assert {item.ContinuityOfContent for item in containers} == {"SEPARATE"}
    assert len(containers) > 6


def test_observer_equipment_and_algorithm_agree() -> None:
    document = _read(measurement_report([reading(bare())], ALGORITHM, CONTEXT))
    (equipment,) = document.ContributingEquipmentSequence
    said = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.get("TextValue", item.get("UID"))
        for item in _items(document)
        if item.ValueType in ("TEXT", "UIDREF")
    }
    assert said["Device Observer UID"] == equipment.DeviceUID == ALGORITHM.device_uid
    assert said["Device Observer Manufacturer"] == equipment.Manufacturer
    assert said["Device Observer Model Name"] == equipment.ManufacturerModelName
    assert said["Algorithm Name"] == ALGORITHM.name
    assert said["Algorithm Version"] == equipment.SoftwareVersions == ALGORITHM.version
    assert "Algorithm Manufacturer" not in said


def test_evidence_names_every_source_and_the_predecessor() -> None:
    document = _read(_rich())
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    found = {
        str(instance.ReferencedSOPInstanceUID): str(series.SeriesInstanceUID)
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert found == {
        "1.2.826.0.1.3680043.10.1.1": "1.2.826.0.1.3680043.10.3",
        "1.2.826.0.1.3680043.10.1.2": "1.2.826.0.1.3680043.10.4",
    }
    (predecessor,) = document.PredecessorDocumentsSequence
    series = predecessor.ReferencedSeriesSequence[0]
    instance = series.ReferencedSOPSequence[0]
    assert predecessor.StudyInstanceUID == document.StudyInstanceUID
    named = (instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID, series.SeriesInstanceUID)
    assert named == PREDECESSOR


def test_equal_arguments_give_equal_bytes_in_any_order_of_images() -> None:
    readings = _pa_and_lateral()
    one = measurement_report(readings, ALGORITHM, CONTEXT)
    other = measurement_report(list(reversed(_pa_and_lateral())), ALGORITHM, CONTEXT)
    assert one.data == other.data
    assert one.sop_instance_uid == other.sop_instance_uid


def test_another_revision_threshold_or_class_is_another_object() -> None:
    results = [
        measurement_report([reading(bare())], ALGORITHM, CONTEXT),
        measurement_report([reading(bare())], ALGORITHM, replace(CONTEXT, revision=2)),
        measurement_report([reading(bare(), threshold=0.25)], ALGORITHM, CONTEXT),
        measurement_report([reading(bare())], ALGORITHM, CONTEXT, _rendition(SOP_CLASSES[1])),
    ]
    assert len({result.sop_instance_uid for result in results}) == len(results)
    # a rendition has a series of its own; revisions and thresholds do not
    assert len({result.series_instance_uid for result in results[:3]}) == 1
    assert results[3].series_instance_uid != results[0].series_instance_uid
    assert [result.variant for result in results] == ["", "", "", f"sop_class_uid={SOP_CLASSES[1]}"]


def _other_study() -> Dataset:
    source = bare(2)
    source.StudyInstanceUID = "1.2.3"
    return source


def _lacking(keyword: str, value: str) -> Dataset:
    source = bare()
    source.update(header(**{keyword: value}))
    return source


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        ([], "no image"),
        ([bare(), _other_study()], "different studies"),
        ([bare(), bare()], "share a SOP Instance UID"),
        ([_lacking("StudyInstanceUID", "")], r"Study Instance UID \(0020,000D\)"),
        ([_lacking("SeriesInstanceUID", "1.02")], r"Series Instance UID \(0020,000E\)"),
        ([_lacking("SOPInstanceUID", "x")], r"SOP Instance UID \(0008,0018\)"),
    ],
)
def test_what_cannot_be_reported_gives_a_clear_reason(sources: list[Dataset], reason: str) -> None:
    with pytest.raises(ReportImpossible, match=reason):
        measurement_report([reading(source) for source in sources], ALGORITHM, CONTEXT)


def test_a_label_without_a_code_gives_a_clear_reason() -> None:
    unknown = Finding(label="Lupus", score=0.1, threshold=0.5, presence=Presence.ABSENT)
    with pytest.raises(ReportImpossible, match="'Lupus'"):
        measurement_report([replace(reading(bare()), findings=(unknown,))], ALGORITHM, CONTEXT)


def test_a_class_that_holds_no_such_report_is_refused() -> None:
    with pytest.raises(ReportImpossible, match=r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.88\.11"):
        measurement_report([reading(bare())], ALGORITHM, CONTEXT, _rendition("1.2.840.10008.5.1.4.1.1.88.11"))


def test_codes_have_sources_and_none_is_the_one_that_means_something_else() -> None:
    table = codes.finding_codes().values()
    assert len(table) == 18
    for row in table:
        assert row.source, row.label
        assert (row.code.scheme_designator == codes.PRIVATE_SCHEME) == row.source.startswith("local"), (
            row.label
        )
        # pydicom calls 287272002 cardiomegaly; it is something else
        assert row.code.value != "287272002"
    assert dicom_codes.DCM.ArtificialIntelligence == codes.ARTIFICIAL_INTELLIGENCE
    result = measurement_report([reading(bare())], ALGORITHM, CONTEXT)
    assert b"287272002" not in result.data


def _library_entry(source: Dataset, view: View = View.PA) -> dict[str, str]:
    """Read the descriptors of the one image in the library, by their name."""
    document = _read(measurement_report([reading(source, view=view)], ALGORITHM, CONTEXT))
    library = next(item for item in document.ContentSequence if item.get("ContentSequence"))
    assert _code(library.ConceptNameCodeSequence[0]) == ("111028", "DCM")
    (group,) = library.ContentSequence
    (entry,) = group.ContentSequence
    assert entry.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    found = {}
    for item in entry.get("ContentSequence", ()):
        value = {
            "CODE": lambda item: item.ConceptCodeSequence[0].CodeMeaning,
            "NUM": lambda item: item.MeasuredValueSequence[0].NumericValue,
            "TEXT": lambda item: item.TextValue,
            "DATE": lambda item: item.Date,
            "TIME": lambda item: item.Time,
        }[item.ValueType](item)
        found[str(item.ConceptNameCodeSequence[0].CodeMeaning)] = str(value)
    return found


def test_the_image_library_tells_what_the_header_tells() -> None:
    source = full()
    source.update(header(Rows=2500, Columns=2048, AcquisitionDate="20240506", AcquisitionTime="215512"))
    source.ImagerPixelSpacing = ["0.2", "0.143"]
    assert _library_entry(as_received(source)) == {
        "Modality": "Digital Radiography",
        "Image View": "postero-anterior",
        "Acquisition Date": "20240506",
        "Acquisition Time": "215512",
        "Pixel Data Rows": "2500",
        "Pixel Data Columns": "2048",
        "Patient Orientation Row": "L",
        "Patient Orientation Column": "F",
        "Vertical Pixel Spacing": "0.2",
        "Horizontal Pixel Spacing": "0.143",
    }


def test_the_image_library_is_silent_where_the_header_is() -> None:
    assert _library_entry(bare(modality="OT"), View.UNKNOWN) == {}
    source = bare(modality="CR")
    source.update(header(PatientOrientation=["L"], ImagerPixelSpacing=["0", "0"], StudyDate="20240506"))
    told = _library_entry(source, View.LATERAL)
    assert told == {
        "Modality": "Computed Radiography",
        "Image View": "lateral",
        "Study Date": "20240506",
    }


def test_the_performed_procedure_is_the_source_s() -> None:
    source = full()
    procedure = header(CodeValue="43468-8", CodingSchemeDesignator="LN", CodeMeaning="XR")
    source.ProcedureCodeSequence = [procedure]
    result = measurement_report([reading(as_received(source))], ALGORITHM, CONTEXT)
    assert _read(result).PerformedProcedureCodeSequence[0].CodeValue == "43468-8"
    assert referees.dciodvfy(result.data).errors == ()


def test_a_rendition_changes_series_and_language() -> None:
    rendition = Rendition(
        kind=ObjectKind.SR, language="lt", series_number=77, series_description="DI ataskaita"
    )
    cautious = replace(ALGORITHM, caution=CAUTION)
    result = measurement_report([reading(bare())], cautious, CONTEXT, rendition)
    document = _read(result)
    default = measurement_report([reading(bare())], cautious, CONTEXT)
    (language,) = _named_items(document, codes.LANGUAGE)
    comment = _named_items(document, codes.COMMENT)[0].TextValue
    assert _code(language.ConceptCodeSequence[0]) == ("lt", "RFC5646")
    assert comment.endswith("nepatvirtintas")
    assert document.SeriesNumber == 77
    assert document.SeriesDescription == f"{CAUTION} DI ataskaita"
    assert result.variant == rendition.variant
    assert result.sop_instance_uid != default.sop_instance_uid
    assert result.series_instance_uid != default.series_instance_uid
    assert referees.dciodvfy(result.data).errors == ()


def test_a_language_without_a_catalogue_gives_a_clear_reason() -> None:
    with pytest.raises(ReportImpossible, match=r"report\.language"):
        measurement_report(
            [reading(bare())], ALGORITHM, CONTEXT, Rendition(kind=ObjectKind.SR, language="xx")
        )
