"""The encapsulated PDF: a valid object, and pages whose text other programs read."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Finding, Presence
from mcads_node.instance import View
from mcads_node.report import wording
from mcads_node.report.drawing import encode_picture, grey_levels, heat_over
from mcads_node.report.pdf import pdf_report
from mcads_node.result import ImageReading, ObjectKind, Rendition, ResultObject
from tests import referees
from tests.programs import require_program
from tests.report_samples import (
    ALGORITHM,
    CAUTION,
    CONTEXT,
    DOUBTFUL,
    UNFIT,
    as_received,
    bare,
    full,
    reading,
)
from tests.report_sources import NAMES, SOURCES

DEMONSTRATION = replace(ALGORITHM, caution=CAUTION)
DEFAULT = Rendition(kind=ObjectKind.PDF)
LITHUANIAN = Rendition(kind=ObjectKind.PDF, language="lt")
#: a heatmap that a reading refers to
HEATMAP = ("1.2.840.10008.5.1.4.1.1.7", "2.25.5", "2.25.6")


def _picture(rows: int, columns: int) -> bytes:
    ramp = np.add.outer(np.linspace(-1024, 0, rows), np.linspace(0, 1024, columns)).astype(np.float32)
    return encode_picture(heat_over(grey_levels(ramp), None))


def _readings() -> list[ImageReading]:
    lateral = reading(as_received(full(2)), view=View.LATERAL, checks=(DOUBTFUL, UNFIT))
    frontal = reading(as_received(full()), threshold=0.8)
    return [
        replace(lateral, thumbnail=_picture(300, 512)),
        replace(
            frontal,
            thumbnail=_picture(512, 420),
            heatmaps=(HEATMAP,),
        ),
    ]


def _rich(rendition: Rendition = DEFAULT) -> ResultObject:
    context = replace(CONTEXT, revision=2, unread=("One image had no pixels.",))
    return pdf_report(_readings(), DEMONSTRATION, context, rendition)


def _read(result: ResultObject) -> Dataset:
    return pydicom.dcmread(BytesIO(result.data))


def _pdf(result: ResultObject) -> bytes:
    document = _read(result)
    data = bytes(document.EncapsulatedDocument)
    return data[: document.EncapsulatedDocumentLength]


def _text(result: ResultObject, tmp_path: Path) -> str:
    file = tmp_path / "report.pdf"
    file.write_bytes(_pdf(result))
    done = subprocess.run(
        [require_program("pdftotext"), "-layout", str(file), "-"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("name", SOURCES)
def test_dciodvfy_accepts_the_pdf_of_any_source(name: str) -> None:
    result = pdf_report([reading(SOURCES[name]())], ALGORITHM, CONTEXT)
    verdicts = referees.dciodvfy(result.data)
    assert (verdicts.errors, verdicts.warnings) == ((), ())
    if name in NAMES:
        assert str(_read(result).PatientName) == NAMES[name]


def test_the_object_says_what_it_encapsulates() -> None:
    document = _read(_rich())
    data = _pdf(_rich())
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    assert len(document.EncapsulatedDocument) - len(data) == len(data) % 2
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert document.DocumentTitle == f"{CAUTION} — MCADS AI — 2 findings above threshold"
    assert document.BurnedInAnnotation == "NO"
    assert [item.ReferencedSOPInstanceUID for item in document.SourceInstanceSequence] == [
        "1.2.826.0.1.3680043.10.1.1",
        "1.2.826.0.1.3680043.10.1.2",
    ]
    assert document.VerificationFlag == "UNVERIFIED"
    assert (document.Modality, document.SeriesNumber, document.InstanceNumber) == ("DOC", 9907, 2)
    assert referees.dciodvfy(_rich().data).errors == ()


def test_identity_burnt_into_a_source_is_told() -> None:
    source = full()
    source.BurnedInAnnotation = "YES"
    assert _read(pdf_report([reading(source)], ALGORITHM, CONTEXT)).BurnedInAnnotation == "YES"


def test_its_text_can_be_read_by_other_programs(tmp_path: Path) -> None:
    text = _text(_rich(), tmp_path)
    assert text.startswith(f"{CAUTION} AI result for research use — not verified MCADS AI — 2 findings")
    # at the top, and at the foot of the page
    assert text.count(CAUTION) == 2
    for said in (
        "Revised report 2",
        "Input of LATERAL: The image looks inverted.",
        "Not read: One image had no pixels.",
        "Below threshold (not excluded): ",
        "Undetermined, nothing is claimed: ",
        "score 0.93 (threshold 0.80)",
        "not probabilities",
        wording.NOT_EXCLUDED,
        f"Model {ALGORITHM.name} {ALGORITHM.version}, weights SHA-256 {ALGORITHM.weights_digest}",
        "2024-05-07 01:03",
    ):
        assert said in text
    for finding in _readings()[1].findings:
        assert wording.human_label(finding.label) in text
    # who it is of is said by the object around it
    assert "Žukauskait" not in text


def test_lithuanian_letters_are_there(tmp_path: Path) -> None:
    text = _text(_rich(LITHUANIAN), tmp_path)
    assert "radiniai viršija slenkstį" in text
    assert "Pleuros sustorėjimas" in text
    assert _rich(LITHUANIAN).sop_instance_uid != _rich().sop_instance_uid


def test_both_pictures_are_in_it_and_all_fonts(tmp_path: Path) -> None:
    file = tmp_path / "report.pdf"
    file.write_bytes(_pdf(_rich()))

    def said_by(*command: str) -> list[str]:
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[2:]

    sizes = [line.split()[3:5] for line in said_by(require_program("pdfimages"), "-list")]
    assert sorted(sizes) == [["420", "512"], ["512", "300"]]
    fonts = said_by(require_program("pdffonts"))
    drawn = [line for line in fonts if "DejaVu" in line]
    assert len(drawn) == 2
    assert all("yes yes yes" in line for line in drawn)


def test_many_images_fill_pages_and_each_says_what_it_is(tmp_path: Path) -> None:
    many = [replace(reading(full(number)), thumbnail=_picture(512, 420)) for number in range(1, 13)]
    text = _text(pdf_report(many, DEMONSTRATION, CONTEXT), tmp_path)
    pages = text.count(f"{CAUTION} · AI result for research use")
    assert pages > 2
    assert all(f"PA {number} (image" in text for number in range(1, 13))


def test_equal_arguments_give_equal_bytes_whatever_the_clock_and_the_process() -> None:
    one = _rich()
    pdf_report([reading(bare())], ALGORITHM, CONTEXT, LITHUANIAN)
    again = pdf_report(
        _readings()[::-1], DEMONSTRATION, replace(CONTEXT, revision=2, unread=("One image had no pixels.",))
    )
    assert again.data == one.data
    script = (
        "import hashlib; from tests.test_report_pdf import _rich; "
        "print(hashlib.sha256(_rich().data).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
    )
    assert done.stdout.strip() == hashlib.sha256(one.data).hexdigest()
    assert b"D:20240506220304Z" in _pdf(one)


def test_texts_are_no_markup(tmp_path: Path) -> None:
    odd = replace(DEMONSTRATION, name="a<b>&amp;<para>", caution="<font color=red>" + "loud " * 60)
    text = _text(pdf_report(_readings(), odd, CONTEXT), tmp_path)
    assert "a<b>&amp;<para>" in text
    assert "<font color=red>loud" in text


def test_more_findings_than_a_page_holds_give_a_clear_reason() -> None:
    present = tuple(
        Finding(label="Nodule", score=0.9, threshold=0.5, presence=Presence.PRESENT) for _ in range(80)
    )
    endless = replace(_readings()[1], findings=present)
    with pytest.raises(ReportImpossible, match="do not fit"):
        pdf_report([endless], ALGORITHM, CONTEXT)


def test_a_thumbnail_that_is_none_gives_a_clear_reason() -> None:
    with pytest.raises(ReportImpossible, match="thumbnail"):
        pdf_report([replace(reading(bare()), thumbnail=b"not a picture")], ALGORITHM, CONTEXT)


def test_a_long_name_of_a_model_stays_on_the_page(tmp_path: Path) -> None:
    named = replace(ALGORITHM, name="n" * 64)
    file = tmp_path / "report.pdf"
    file.write_bytes(_pdf(pdf_report(_readings(), named, CONTEXT)))
    boxes = subprocess.run(
        [require_program("pdftotext"), "-bbox", str(file), "-"], capture_output=True, text=True, check=True
    ).stdout
    width = float(re.findall(r'<page width="([\d.]+)"', boxes)[0])
    words = re.findall(r'xMax="([\d.]+)" yMax="[\d.]+">([^<]*)<', boxes)
    assert any(word.startswith("nnnn") for _, word in words)
    assert max(float(right) for right, _ in words) <= width - 30
