"""Every kind of object, of every kind of source, before judges that nobody here wrote (see `tests.referees`).

What they said is counted, printed (``pytest -s``) and kept in ``tests/artefacts/referees.json``.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Finding, Heatmap, Presence
from mcads_node.instance import InputCheck, Radiograph, View
from mcads_node.report.anatomy_segmentation import anatomy_segmentation
from mcads_node.report.basic_text import basic_text_report
from mcads_node.report.capture import heatmap_capture, summary_capture, thumbnail
from mcads_node.report.key_objects import RejectedObject, key_objects, rejection_note
from mcads_node.report.pdf import pdf_report
from mcads_node.report.presentation_state import presentation_state
from mcads_node.report.segmentation import segmentation
from mcads_node.report.sr import SOP_CLASSES, measurement_report
from mcads_node.resample import geometry_for
from mcads_node.result import ImageReading, ObjectKind, Rendition, ResultObject
from tests import referees
from tests.anatomy_samples import MEASURED, OTHER, REFUSED, masks, structures
from tests.documents import ROOT
from tests.report_samples import (
    ALGORITHM,
    CALIBRATED,
    CAUTION,
    CONTEXT,
    DOUBTFUL,
    LABELS,
    UNFIT,
    calibrated,
    full,
    reading,
    with_triage,
)
from tests.sources import IMPOSSIBLE, IMPOSSIBLE_TOGETHER, SOURCES, Source

ARTEFACTS = Path(os.environ.get("MCADS_TEST_ARTEFACTS") or ROOT / "tests" / "artefacts")
DEMONSTRATION = replace(ALGORITHM, name="mcads-demo", caution=CAUTION)
#: reports of few labels are as valid, and many times faster to make and to judge; tests of the SR have all
FEW = LABELS[:3]
ROWS, COLUMNS = 90, 70

OF_THE_STUDY: dict[ObjectKind, Callable[..., ResultObject | None]] = {
    ObjectKind.SR: measurement_report,
    ObjectKind.SUMMARY: summary_capture,
    ObjectKind.BASIC_TEXT_SR: basic_text_report,
    ObjectKind.KOS: key_objects,
    ObjectKind.PDF: pdf_report,
}
OF_AN_IMAGE: dict[ObjectKind, Callable[..., ResultObject | None]] = {
    ObjectKind.HEATMAP: lambda radiograph, heatmaps, *said: heatmap_capture(radiograph, heatmaps[0], *said),
    ObjectKind.GSPS: presentation_state,
    ObjectKind.SEG: segmentation,
}

#: what only PixelMed says: its TID 1501 is older than the rows for algorithms, scores and presence
_OLDER_TEMPLATE = re.compile("Content Item not in template")
#: what only dcentvfy says: its tables have the accession number in the series of some objects
_OTHER_ENTITY = re.compile(r"Different information entities for attribute - Element=<\w*AccessionNumber\w*>")
#: PixelMed takes seconds for each group of a report, and looks at nothing but its content: one source of each
#: kind of content
PIXELMED_SOURCES = (
    "DX, all there",
    "DX, nothing that may be absent",
    "DX, lateral",
    "DX, two views",
    "DX, odd values",
    "DX, no spacing",
    "DX, Lithuanian, UTF-8",
    "CR, all there",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What was made of one source."""

    made: tuple[ResultObject, ...]
    #: why a kind was not made
    omitted: dict[ObjectKind, str]


def _radiograph(header: Dataset, view: View = View.PA, checks: tuple[InputCheck, ...] = ()) -> Radiograph:
    pixels = np.linspace(-1024, 1024, ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    return Radiograph(header=header, pixels=pixels, view=view, checks=checks)


def _heatmaps() -> tuple[Heatmap, ...]:
    activation = np.zeros((7, 7), np.float32)
    activation[4, 2] = 1
    found = Finding(label=FEW[-1], score=0.69, threshold=0.5, presence=Presence.PRESENT)
    return (
        Heatmap(
            finding=found,
            method="grad-cam",
            activation=activation,
            geometry=geometry_for(ROWS, COLUMNS, 224),
        ),
    )


def _renditions(language: str) -> Iterator[Rendition]:
    yield from (Rendition(kind=kind, language=language) for kind in ObjectKind)
    yield from (
        Rendition(kind=ObjectKind.SR, language=language, sop_class_uid=uid) for uid in SOP_CLASSES[1:]
    )


@cache
def study_of(name: str) -> Study:
    """Make every object of one source."""
    return _made(SOURCES[name])


def _made(source: Source) -> Study:
    made: list[ResultObject] = []
    omitted: dict[ObjectKind, str] = {}
    checks = (DOUBTFUL,) if View.LATERAL in source.views else ()
    algorithm = DEMONSTRATION if source.language == "lt" else ALGORITHM
    radiographs = [
        _radiograph(header, view, checks) for header, view in zip(source.headers, source.views, strict=True)
    ]
    for rendition in _renditions(source.language):
        try:
            if rendition.kind in OF_AN_IMAGE:
                said: tuple[Any, ...] = (_heatmaps(), algorithm, CONTEXT, rendition)
                results = [OF_AN_IMAGE[rendition.kind](each, *said) for each in radiographs]
                if rendition.kind is ObjectKind.SEG:
                    results += [_anatomy(each, *said[1:]) for each in radiographs]
            else:
                readings = [_reading(each, made) for each in radiographs]
                results = [OF_THE_STUDY[rendition.kind](readings, algorithm, CONTEXT, rendition)]
        except ReportImpossible as error:
            omitted[rendition.kind] = str(error)
        else:
            made += [each for each in results if each is not None]
    return Study(made=tuple(made), omitted=omitted)


def _anatomy(radiograph: Radiograph, *said: Any) -> ResultObject | None:
    return anatomy_segmentation(radiograph, structures(masks(), ROWS, COLUMNS), *said)


def _reading(radiograph: Radiograph, made: list[ResultObject]) -> ImageReading:
    plain = reading(radiograph.header, view=radiograph.view, checks=radiograph.checks, labels=FEW)
    heatmaps = tuple(
        (each.sop_class_uid, each.sop_instance_uid, each.series_instance_uid)
        for each in made
        if each.kind is ObjectKind.HEATMAP
    )
    measured = MEASURED if radiograph.view in (View.PA, View.AP) else None
    drawn = thumbnail(radiograph, _heatmaps()[0])
    return replace(plain, thumbnail=drawn, heatmaps=heatmaps, anatomy=measured)


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Count what was judged, and say so at the end."""
    count: Counter[str] = Counter()
    yield count
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    (ARTEFACTS / "referees.json").write_text(json.dumps(dict(sorted(count.items())), indent=2) + "\n")
    print("\nreferees:", ", ".join(f"{number} {what}" for what, number in sorted(count.items())))  # noqa: T201


def _problems(
    tally: Counter[str], judge: str, verdicts: referees.Verdicts, allowed: re.Pattern[str] | None = None
) -> list[str]:
    """Count what a judge said of an object, and give what may not be said; `allowed` are warnings."""
    unexpected = [line for line in verdicts.warnings if not (allowed and allowed.search(line))]
    warnings = len(verdicts.warnings) + len(verdicts.allowed)
    tally[f"{judge}: judged"] += 1
    tally[f"{judge}: errors"] += len(verdicts.errors)
    tally[f"{judge}: warnings allowed"] += warnings - len(unexpected)
    tally[f"{judge}: warnings not allowed"] += len(unexpected)
    return [*verdicts.errors, *unexpected]


@pytest.mark.parametrize("name", SOURCES)
def test_every_object_of_the_source_is_clean(name: str, tally: Counter[str]) -> None:
    source, study = SOURCES[name], study_of(name)
    assert set(study.omitted) == (set() if source.placed else {ObjectKind.SEG}), study.omitted
    assert {each.kind for each in study.made} == set(ObjectKind) - set(study.omitted)
    assert source.placed or "needs both" in study.omitted[ObjectKind.SEG]
    with ThreadPoolExecutor(2) as pool:
        judged = list(pool.map(referees.dciodvfy, [each.data for each in study.made]))
    together = referees.dcentvfy([each.data for each in study.made])
    said = {
        f"{each.kind} {each.sop_class_uid}": _problems(tally, "dciodvfy", verdicts)
        for each, verdicts in zip(study.made, judged, strict=True)
    }
    assert {what: problems for what, problems in said.items() if problems} == {}
    assert _problems(tally, "dcentvfy", together, _OTHER_ENTITY) == []


@pytest.mark.parametrize("name", ["DX, all there", "CR, all there", "DX, two views"])
def test_every_object_agrees_with_its_source(name: str, tally: Counter[str]) -> None:
    """Of patient and study; dcentvfy compares bytes, so with sources of our own character set."""
    sources = [_part10(header) for header in SOURCES[name].headers]
    together = referees.dcentvfy([*sources, *(each.data for each in study_of(name).made)])
    assert _problems(tally, "dcentvfy", together, _OTHER_ENTITY) == []


def _part10(header: Dataset) -> bytes:
    whole = copy.deepcopy(header)
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, whole, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("name", SOURCES)
def test_every_object_has_the_name_of_the_patient(name: str) -> None:
    for each in study_of(name).made:
        result = pydicom.dcmread(BytesIO(each.data))
        assert result.SpecificCharacterSet == "ISO_IR 192", each.kind
        assert str(result.PatientName) == SOURCES[name].patient_name, each.kind


@pytest.mark.parametrize("name", SOURCES)
def test_every_measurement_report_comes_back_from_highdicom(name: str) -> None:
    reports = [each for each in study_of(name).made if each.kind is ObjectKind.SR]
    assert [each.sop_class_uid for each in reports] == list(SOP_CLASSES)
    views = SOURCES[name].views
    frontal = sum(view in (View.PA, View.AP) for view in views)
    for each in reports:
        content: Any = srread(BytesIO(each.data)).content
        # the quality of the input is a group of its own, and so is the anatomy of a frontal image
        assert len(content.get_image_measurement_groups()) == len(views) * (1 + len(FEW)) + frontal


def _reports() -> Iterator[bytes]:
    """Give a report of one label of each source, every class of the richest source, and every text."""
    for name in PIXELMED_SOURCES:
        source = SOURCES[name]
        readings = [
            reading(header, view=view, labels=FEW[-1:])
            for header, view in zip(source.headers, source.views, strict=True)
        ]
        rendition = Rendition(kind=ObjectKind.SR, language=source.language)
        yield measurement_report(readings, ALGORITHM, CONTEXT, rendition).data
        of_text = (ObjectKind.BASIC_TEXT_SR, ObjectKind.KOS)
        yield from (each.data for each in study_of(name).made if each.kind in of_text)
    yield from (each.data for each in study_of("DX, two views").made if each.kind is ObjectKind.SR)
    # of two images, with everything that occurs: two qualities, a predecessor, a caution, calibrated scores
    predecessor = ("1.2", "2.25.5", "2.25.6")
    context = replace(CONTEXT, revision=2, predecessor=predecessor, unread=("It has no pixels.",))
    mixed = [
        reading(full(1), view=View.PA, labels=FEW[:2]),
        reading(full(2), view=View.LATERAL, checks=(UNFIT, DOUBTFUL), labels=FEW[:2]),
    ]
    mixed = [with_triage(calibrated(each, FEW[:1])) for each in mixed]
    anatomies = (replace(MEASURED, algorithm=OTHER), REFUSED)
    mixed = [replace(each, anatomy=anatomy) for each, anatomy in zip(mixed, anatomies, strict=True)]
    mark = replace(CALIBRATED.calibration, labels=FEW[:1]) if CALIBRATED.calibration else None
    yield measurement_report(mixed, replace(DEMONSTRATION, calibration=mark), context).data
    yield measurement_report(mixed[1:], DEMONSTRATION, CONTEXT).data
    rejected = [
        RejectedObject(
            sop_class_uid=each.sop_class_uid,
            sop_instance_uid=each.sop_instance_uid,
            series_instance_uid=each.series_instance_uid,
        )
        for each in study_of("DX, two views").made
    ]
    yield rejection_note(full(), rejected, "mistaken", CONTEXT).data


@pytest.mark.timeout(600)
def test_pixelmed_finds_no_error_in_any_report(tally: Counter[str]) -> None:
    for verdicts in referees.pixelmed(list(_reports())):
        assert _problems(tally, "PixelMed", verdicts, _OLDER_TEMPLATE) == []


# -------------------------------------------------------------------------------------------------- bad input


def _reason(build: Callable[[], object]) -> str:
    with pytest.raises(ReportImpossible) as caught:
        build()
    return str(caught.value)


@pytest.mark.parametrize("kind", ObjectKind)
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_source_without_identity_gives_a_reason_that_names_the_tag(name: str, kind: ObjectKind) -> None:
    headers, reason = IMPOSSIBLE[name]
    said = (ALGORITHM, CONTEXT, Rendition(kind=kind))
    if kind in OF_AN_IMAGE:
        told = _reason(lambda: OF_AN_IMAGE[kind](_radiograph(headers[0]), _heatmaps(), *said))
    else:
        readings = [_reading(_radiograph(header), []) for header in headers]
        told = _reason(lambda: OF_THE_STUDY[kind](readings, *said))
    assert re.search(reason, told), told


@pytest.mark.parametrize("kind", OF_THE_STUDY)
@pytest.mark.parametrize("name", IMPOSSIBLE_TOGETHER)
def test_images_that_are_no_study_give_a_reason_or_a_valid_object(name: str, kind: ObjectKind) -> None:
    headers, reason = IMPOSSIBLE_TOGETHER[name]
    readings = [_reading(_radiograph(header), []) for header in headers]
    try:
        result = OF_THE_STUDY[kind](readings, ALGORITHM, CONTEXT, Rendition(kind=kind))
    except ReportImpossible as error:
        assert re.search(reason, str(error)), error
    else:
        # without the report nothing is sent: see `mcads_node.analyse`
        assert kind is not ObjectKind.SR
        assert result is not None
        assert referees.dciodvfy(result.data).errors == ()


def test_the_judges_condemn_what_is_wrong() -> None:
    sound = _made(Source(headers=(full(),), patient_name="Žukauskaitė^Rūta")).made
    broken = []
    for each in sound:
        result = pydicom.dcmread(BytesIO(each.data))
        result.PatientSex = "X"
        del result.SeriesInstanceUID
        buffer = BytesIO()
        result.save_as(buffer)
        broken.append(buffer.getvalue())
        assert referees.dciodvfy(broken[-1]).errors, each.kind
    other = pydicom.dcmread(BytesIO(sound[0].data))
    other.PatientBirthDate = "19000101"
    buffer = BytesIO()
    other.save_as(buffer)
    assert referees.dcentvfy([buffer.getvalue(), *(each.data for each in sound[1:])]).errors
