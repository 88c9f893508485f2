"""The languages of pages and captures: complete, with their plurals, in letters that the fonts have."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import DigitalXRayImageStorageForProcessing

from mcads_node.admit import admit
from mcads_node.config import CHECKS
from mcads_node.errors import ReportImpossible
from mcads_node.finding import Finding, Presence, presence_of
from mcads_node.instance import View
from mcads_node.product import MANUFACTURER, MODEL_NAME
from mcads_node.report import wording
from mcads_node.report.page import Page
from mcads_node.report.sentences import FORMS, sentence
from mcads_node.report.summary_page import summary_page
from mcads_node.report.translation import DOMAIN, ENGLISH, LOCALE, languages, translator
from mcads_node.report.urgency import UNLISTED, page_order, tiers
from tests.gate_cases import said_by_the_gate
from tests.report_samples import ALGORITHM, CALIBRATED, CONTEXT, LABELS, calibrated, full, reading

ROOT = Path(__file__).resolve().parents[1]
CATALOGUES = sorted(LOCALE.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))
IDS = [path.parts[-3] for path in CATALOGUES]
LT = translator("lt")


def catalogue(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3], domain=DOMAIN)


def texts_of(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, (tuple, list)) else (str(value or ""),)


def messages(path: Path) -> Iterator[tuple[Message, tuple[str, ...], tuple[str, ...]]]:
    for message in catalogue(path):
        if message.id:
            yield message, texts_of(message.id), texts_of(message.string)


def test_there_are_english_and_lithuanian() -> None:
    assert {"en", "lt"} <= set(languages())
    assert set(languages()) == {"en", *IDS}
    assert translator("en") is ENGLISH
    assert (ENGLISH(wording.UNVERIFIED), ENGLISH("")) == (wording.UNVERIFIED, "")


@pytest.mark.parametrize("language", ["", "EN", "de_DE.UTF-8", "lt/../lt", "../../etc"])
def test_an_unknown_language_is_refused(language: str) -> None:
    with pytest.raises(ReportImpossible, match=r"expected one of en, lt"):
        translator(language)


@pytest.mark.parametrize("path", CATALOGUES, ids=IDS)
def test_every_text_is_translated(path: Path) -> None:
    for message, source, said in messages(path):
        assert all(said), f"{path.parts[-3]} has no translation of {source[0]!r}"
        assert not message.fuzzy, source
        assert len(said) == (catalogue(path).num_plurals if message.pluralizable else 1)
        for text in said:
            # the same fields, or one of them would be missing on a page, or fail there
            fields = {part.split("}")[0] for part in source[-1].split("{")[1:]}
            assert {part.split("}")[0] for part in text.split("{")[1:]} == fields, text


@pytest.mark.parametrize("path", CATALOGUES, ids=IDS)
def test_the_compiled_catalogue_is_that_of_the_text(path: Path) -> None:
    compiled = BytesIO()
    write_mo(compiled, catalogue(path))
    assert path.with_suffix(".mo").read_bytes() == compiled.getvalue(), "run scripts/translations compile"


def test_the_catalogues_have_the_texts_of_the_code() -> None:
    checked = subprocess.run(
        [str(ROOT / "scripts" / "translations"), "check"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # an extraction that finds nothing would pass, too
    assert int(checked.stdout.split()[0]) > 80


@pytest.mark.parametrize("path", CATALOGUES, ids=IDS)
@pytest.mark.parametrize("bold", [False, True])
def test_the_fonts_have_the_letters(path: Path, bold: bool) -> None:
    def drawn(letter: str) -> bytes:
        page = Page(60, 40)
        page.word((5, 20), letter, 24, anchor="lm", bold=bold)
        return page.pixels().tobytes()

    letters = {letter for _, _, said in messages(path) for text in said for letter in text} - set(" {}")
    assert set("ąčęėįšųūž") <= letters or path.parts[-3] != "lt"
    missing = drawn("\U0010fffe")
    assert [letter for letter in sorted(letters) if drawn(letter) == missing] == []


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 radinys"),
        (2, "2 radiniai"),
        (9, "9 radiniai"),
        (10, "10 radinių"),
        (11, "11 radinių"),
        (12, "12 radinių"),
        (18, "18 radinių"),
        (20, "20 radinių"),
        (21, "21 radinys"),
        (22, "22 radiniai"),
        (111, "111 radinių"),
    ],
)
def test_lithuanian_plurals(count: int, said: str) -> None:
    many = "{count} findings above threshold"
    assert LT.plural("{count} finding above threshold", many, count) == f"{said} viršija slenkstį"


def test_english_plurals() -> None:
    one, many = "{count} finding above threshold", "{count} findings above threshold"
    assert ENGLISH.plural(one, many, 1) == "1 finding above threshold"
    assert ENGLISH.plural(one, many, 2) == "2 findings above threshold"


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("Atelectasis", "Atelektazė"),
        ("Pneumothorax", "Pneumotoraksas"),
        ("Edema", "Plaučių edema"),
        ("Effusion", "Skystis pleuros ertmėje"),
        ("Pleural_Thickening", "Pleuros sustorėjimas"),
        ("Lung Opacity", "Plaučių pritemimas"),
    ],
)
def test_names_of_findings(label: str, said: str) -> None:
    assert wording.human_label(label, LT) == said


def test_every_label_has_a_name_of_its_own() -> None:
    assert len({wording.human_label(label, LT) for label in LABELS}) == len(LABELS)
    assert not {wording.human_label(label, LT) for label in LABELS} & set(LABELS)
    assert wording.human_label("Something_Else", LT) == "Something else"


def test_numbers_have_the_decimal_mark_of_the_language() -> None:
    found = Finding(label="Mass", score=0.715, threshold=0.5, presence=Presence.PRESENT)
    assert wording.score_text(found, ALGORITHM, LT) == "įvertis 0,71 (slenkstis 0,50), nekalibruotas"
    assert wording.score_text(found, ALGORITHM) == "score 0.71 (threshold 0.50), uncalibrated"


# ----------------------------------------------------------------------------------- sentences of other steps


def declined(**changes: object) -> str:
    header = full()
    header.Rows, header.Columns = 10, 10
    for keyword, value in changes.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    reason = admit(header)
    assert reason is not None
    return reason.reason


REASONS = {
    "own output": lambda: declined(Manufacturer=MANUFACTURER, ManufacturerModelName=MODEL_NAME),
    "no UID": lambda: declined(SeriesInstanceUID=None),
    "for processing": lambda: declined(SOPClassUID=DigitalXRayImageStorageForProcessing),
    "another class": lambda: declined(SOPClassUID=pydicom.uid.CTImageStorage),
    "no pixels": lambda: declined(Rows=None),
    "frames": lambda: declined(NumberOfFrames=20),
    "colour": lambda: declined(SamplesPerPixel=3),
    "another part": lambda: declined(BodyPartExamined="KNEE"),
}


@pytest.mark.parametrize("name", REASONS)
def test_a_reason_to_decline_is_translated(name: str) -> None:
    reason = REASONS[name]()
    said = sentence(reason, LT)
    assert said != reason
    assert sentence(reason, ENGLISH) == reason
    assert "{" not in said


@pytest.mark.parametrize("check", CHECKS)
def test_input_checks_are_translated(check: str) -> None:
    for reason in said_by_the_gate()[check]:
        said = sentence(reason, LT)
        assert said != reason
        assert "{" not in said
        assert sentence(reason, ENGLISH) == reason


def test_a_sentence_is_found_again_whole_and_others_stay_as_they_are() -> None:
    assert sentence("it has 20 frames (0028,0008); a radiograph has one", LT).startswith("kadrų skaičius 20")
    for other in ("", "no route for this study (rule 'rest')", "it has 20 frames", "{0} {attribute}", "50%"):
        assert sentence(other, LT) == other
    assert len(set(FORMS)) == len(FORMS)


# -------------------------------------------------------------------------------------------------- urgency


def test_every_label_has_a_tier_and_a_reason() -> None:
    assert set(tiers()) == set(LABELS)
    assert set(tiers().values()) == {1, 2, 3, 4}
    assert [label for label, tier in tiers().items() if tier == 1] == ["Pneumothorax"]
    table = (ROOT / "mcads_node/report/urgency.csv").read_text(encoding="utf-8").splitlines()
    assert all(len(line.split(",", 2)[2]) > 5 for line in table)


def test_the_order_of_a_page() -> None:
    def found(label: str, score: float, presence: Presence) -> Finding:
        return Finding(label=label, score=score, threshold=0.5, presence=presence)

    wanted = [
        found("Pneumothorax", 0.51, Presence.PRESENT),
        found("Effusion", 0.9, Presence.PRESENT),
        found("Fracture", 0.8, Presence.PRESENT),
        found("Not listed", 0.7, Presence.PRESENT),
        found("Mass", 0.6, Presence.PRESENT),
        found("Hernia", 0.99, Presence.PRESENT),
        found("Mass", 0.9, Presence.UNDETERMINED),
        found("Pneumothorax", 0.8, Presence.UNDETERMINED),
        found("Hernia", 0.4, Presence.ABSENT),
        found("Pneumothorax", 0.3, Presence.ABSENT),
    ]
    shuffled = wanted[5:] + wanted[:5]
    assert sorted(shuffled, key=page_order) == wanted
    assert UNLISTED == 3


def test_a_page_in_lithuanian_says_nothing_in_english() -> None:
    from tests.test_report_capture import DEMONSTRATION, read

    readings = (
        read(full(1), present=("Mass",)),
        read(full(2), View.LATERAL, present=("Effusion", "Hernia")),
    )
    texts = summary_page(readings, DEMONSTRATION, CONTEXT, LT).texts
    english = {message for path in CATALOGUES for _, source, _ in messages(path) for message in source}
    assert not english & set(texts) - {"."}
    assert "3 radiniai viršija slenkstį" in texts
    assert "DEMONSTRACINIS MODELIS — NE KLINIKINIAM NAUDOJIMUI" in texts


@given(score=st.floats(0, 1), threshold=st.integers(1, 9999))
def test_a_score_lies_on_its_own_side_of_the_threshold_as_written(score: float, threshold: int) -> None:
    bar = threshold / 10_000
    finding = Finding(label="Mass", score=score, threshold=bar, presence=presence_of(score, bar, ()))
    shown, mark = float(wording.score_number(finding)), float(wording.threshold_number(finding))
    assert (shown >= mark) == (finding.presence is Presence.PRESENT)
    assert abs(shown - score) <= 0.01
    assert mark == bar


@given(score=st.floats(0, 1), threshold=st.floats(0.01, 1), factor=st.floats(0.001, 1))
def test_a_probability_lies_on_its_own_side_of_the_threshold_as_written(
    score: float, threshold: float, factor: float
) -> None:
    finding = Finding(
        label="Mass",
        score=score,
        threshold=threshold,
        presence=presence_of(score, threshold, ()),
        probability=factor * score,
        probability_threshold=factor * threshold,
    )
    shown, mark = float(wording.score_number(finding)), float(wording.threshold_number(finding))
    # four digits are written of a threshold; nearer to it, or below the last of them, no side can be told
    if abs(finding.stated - finding.stated_threshold) > 1e-4 and mark > 0:
        assert (shown >= mark) == (finding.presence is Presence.PRESENT)
    assert abs(shown - finding.stated) <= 0.01


def test_a_probability_is_told_with_its_site_and_a_score_is_not_one() -> None:
    image = calibrated(reading(full(1)), ["Mass"])
    mass = next(each for each in image.findings if each.label == "Mass")
    other = next(each for each in image.findings if each.label == "Nodule")
    said = wording.score_text(mass, CALIBRATED)
    assert said.startswith("probability ")
    assert said.endswith("calibrated at North Clinic")
    assert wording.score_text(mass, CALIBRATED, LT).startswith("tikimybė ")
    assert "probability" not in wording.score_text(other, CALIBRATED)
    assert not wording.is_wholly_calibrated(ALGORITHM)
    assert wording.is_wholly_calibrated(CALIBRATED)


def test_reasons_are_said_once() -> None:
    context = replace(CONTEXT, unread=("It is X.", "It is Y.", "It is X."))
    assert wording.unread_texts(context) == ["It is X. (2 images)", "It is Y."]
