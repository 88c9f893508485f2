"""Sources of reports as hospitals send them: complete and bare, odd values, character sets."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset

from tests.headers import header
from tests.report_samples import as_received, bare, full


def _named(name: str, character_set: str | list[str]) -> Dataset:
    source = bare()
    source.SpecificCharacterSet = character_set
    source.PatientName = name
    source.StudyDescription = "Thorax"
    return as_received(source)


def _without(*keywords: str, modality: str = "DX") -> Dataset:
    source = full(modality=modality)
    for keyword in keywords:
        del source[keyword]
    return as_received(source)


def _odd() -> Dataset:
    source = bare(modality="CR")
    source.update(
        header(
            PatientSex="U",
            PatientAge="81",
            PatientName="Jonas Vardenis",
            StudyDate="1993.02.24",
            StudyTime="noon",
            PatientBirthDate="unknown",
            AccessionNumber="2024-000000000017",
            PatientID="4" * 70,
            TimezoneOffsetFromUTC="EEST",
            PixelSpacing=["0", "0"],
            OtherPatientIDs=["26210"],
            ProcedureCodeSequence=[header(CodeValue="1")],
        )
    )
    source.private_block(0x0011, "VENDOR", create=True).add_new(0x01, "LO", "secret")
    return source


SOURCES: dict[str, Callable[[], Dataset]] = {
    "DX, all there": lambda: as_received(full()),
    "CR, all there": lambda: as_received(full(modality="CR")),
    "DX, nothing that may be absent": bare,
    "CR, nothing that may be absent": lambda: bare(modality="CR"),
    "no spacing": lambda: _without("PixelSpacing", "ImagerPixelSpacing", modality="CR"),
    "no orientation": lambda: _without("PatientOrientation"),
    "no accession number": lambda: _without("AccessionNumber", "IssuerOfAccessionNumberSequence"),
    "no patient": lambda: _without("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "no request": lambda: _without("RequestAttributesSequence"),
    "odd values": _odd,
    "Latin-1": lambda: _named("Müller^Jürgen", "ISO_IR 100"),
    "Latin-2": lambda: _named("Łukasiewicz^Żaneta", "ISO_IR 101"),
    "Cyrillic": lambda: _named("Чехов^Антон", "ISO_IR 144"),
    "Japanese": lambda: _named("Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"]),
    "Lithuanian, Latin-4": lambda: _named("Žukauskaitė^Rūta", "ISO_IR 110"),
    "UTF-8": lambda: _named("Wang^XiaoDong=王^小东", "ISO_IR 192"),
}

NAMES = {
    "Latin-1": "Müller^Jürgen",
    "Latin-2": "Łukasiewicz^Żaneta",
    "Cyrillic": "Чехов^Антон",
    "Japanese": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Lithuanian, Latin-4": "Žukauskaitė^Rūta",
    "UTF-8": "Wang^XiaoDong=王^小东",
}
