"""The radiographs that hospitals send, as headers: a matrix of modality, what is there, and character set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import JPEG2000

from mcads_node.instance import View
from tests.headers import header
from tests.odd_values import CONDITIONS, received_bytes
from tests.report_samples import as_received, bare, full


@dataclass(frozen=True, kw_only=True)
class Source:
    """One study as it is sent."""

    #: as it was received: bytes in the source's own character set, not yet decoded
    headers: tuple[Dataset, ...]
    views: tuple[View, ...] = (View.PA,)
    #: Patient's Name (0010,0010), decoded by a person; empty where the source has none
    patient_name: str = ""
    #: what a segmentation needs is there
    placed: bool = True
    #: language of what is made of it
    language: str = "en"


#: Patient's Name (0010,0010) by Specific Character Set (0008,0005), and what it is called
_NAMES: dict[str, tuple[str | list[str], str]] = {
    "no character set": ("", "Smith^John"),
    "Latin-1": ("ISO_IR 100", "Müller^Jürgen"),
    "Latin-2": ("ISO_IR 101", "Łukasiewicz^Żaneta"),
    "Cyrillic": ("ISO_IR 144", "Чехов^Антон"),
    "Japanese, ISO 2022": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Lithuanian, Latin-4": ("ISO_IR 110", "Žukauskaitė^Rūta"),
    "Lithuanian, UTF-8": ("ISO_IR 192", "Šerkšnytė-Ąžuolė^Ūla Čiurlė"),
    "UTF-8": ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
}

#: the same, as bytes: code extensions, one set and two, and a set that no one knows
_ENCODED: dict[str, tuple[str, bytes, str]] = {
    "Chinese, ISO 2022": (
        "\\ISO 2022 IR 58",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
        "Zhang^XiaoDong=张^小东",
    ),
    "Korean, ISO 2022": (
        "\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "Chinese, GB18030": ("GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
    "two sets": (
        "ISO 2022 IR 100\\ISO 2022 IR 144",
        b"M\xfcller^\x1b-L\xb0\xdd\xe2\xde\xdd^J\xfcrgen",
        "Müller^Антон^Jürgen",
    ),
}

#: keywords that a source may come without
_WITHOUT: dict[str, tuple[str, ...]] = {
    "no spacing": ("PixelSpacing", "ImagerPixelSpacing"),
    "no orientation": ("PatientOrientation",),
    "no accession number": ("AccessionNumber", "IssuerOfAccessionNumberSequence"),
    "no patient": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "no request": ("RequestAttributesSequence",),
    "no study date": ("StudyDate", "StudyTime", "TimezoneOffsetFromUTC"),
}
_UNPLACED = frozenset({"no spacing", "no orientation"})
_NAME = "Žukauskaitė^Rūta"


def _named(modality: str, name: str) -> Source:
    character_set, patient_name = _NAMES[name]
    source = full(modality=modality)
    for keyword in ("StudyDescription", "SpecificCharacterSet"):
        del source[keyword]
    if character_set:
        source.SpecificCharacterSet = character_set
    source.PatientName = patient_name
    return Source(
        headers=(as_received(source),),
        patient_name=patient_name,
        language="lt" if name.startswith("Lithuanian") else "en",
    )


def _encoded(modality: str, name: str) -> Source:
    character_set, value, patient_name = _ENCODED[name]
    source = bare(modality=modality)
    received_bytes(source, SpecificCharacterSet=character_set.encode(), PatientName=value)
    return Source(headers=(source,), patient_name=patient_name, placed=False)


def _without(modality: str, name: str) -> Source:
    source = full(modality=modality)
    for keyword in _WITHOUT[name]:
        del source[keyword]
    return Source(
        headers=(as_received(source),),
        patient_name="" if name == "no patient" else _NAME,
        placed=name not in _UNPLACED,
    )


def _nothing(modality: str) -> Source:
    return Source(headers=(as_received(bare(modality=modality)),), placed=False)


def _lossy(modality: str) -> Source:
    source = full(modality=modality)
    source.LossyImageCompression = "01"
    source.LossyImageCompressionRatio = ["10", "4"]
    source.LossyImageCompressionMethod = ["ISO_10918_1", "ISO_15444_1"]
    return Source(headers=(as_received(source),), patient_name=_NAME)


def _lateral(modality: str) -> Source:
    source = full(modality=modality)
    source.PatientOrientation = ["P", "F"]
    return Source(headers=(as_received(source),), views=(View.LATERAL,), patient_name=_NAME)


def _two_views(modality: str) -> Source:
    second = full(2, modality=modality)
    second.SeriesInstanceUID = "1.2.826.0.1.3680043.10.4"
    second.PatientOrientation = ["P", "F"]
    return Source(
        headers=(as_received(second), as_received(full(modality=modality))),
        views=(View.LATERAL, View.PA),
        patient_name=_NAME,
    )


def _odd(modality: str) -> Source:
    """Dates that are not dates, values that their VR does not allow, an attribute of a vendor's own."""
    source = bare(modality=modality)
    source.update(
        header(
            PatientSex="U",
            PatientAge="81",
            PatientName="Jonas Vardenis",
            StudyDate="1993.02.24",
            StudyTime="noon",
            PatientBirthDate="unknown",
            SeriesDate="99999999",
            AccessionNumber="2024-000000000017",
            PatientID="4" * 70,
            StudyID="a study of more than sixteen characters",
            TimezoneOffsetFromUTC="EEST",
            PixelSpacing=["0", "0"],
            PatientOrientation=["LEFT", "FEET", "?"],
            OtherPatientIDs=["26210"],
            ProcedureCodeSequence=[header(CodeValue="1")],
        )
    )
    # pydicom stumbles when these are asked for
    received_bytes(source, InstanceNumber=b"12345678901234567890", SeriesNumber=b"- ")
    source.private_block(0x0011, "VENDOR", create=True).add_new(0x01, "LO", "secret")
    return Source(headers=(source,), patient_name="Jonas Vardenis", placed=False)


def _conditions(modality: str) -> Source:
    """All of `CONDITIONS` that go together, and a name of another VR in no known set."""
    source = full(modality=modality)
    for values in CONDITIONS.values():
        source.update(header(**values))
    received_bytes(
        source,
        {"PatientName": "OB"},
        SpecificCharacterSet=b"ISO_IR 999",
        PatientName=_NAME.encode(),
    )
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = JPEG2000
    return Source(headers=(source,), patient_name=_NAME)


_WHOLE: dict[str, Callable[[str], Source]] = {
    "all there": lambda modality: Source(headers=(as_received(full(modality=modality)),), patient_name=_NAME),
    "nothing that may be absent": _nothing,
    "lossy": _lossy,
    "lateral": _lateral,
    "two views": _two_views,
    "odd values": _odd,
}


#: what does not depend on the modality; of CR, which PixelMed does not judge again
_ONCE: dict[str, Callable[[str], Source]] = {
    "unmet conditions": _conditions,
    **{name: partial(_encoded, name=name) for name in _ENCODED},
}


def _sources() -> Iterator[tuple[str, Source]]:
    for name, make in _ONCE.items():
        yield f"CR, {name}", make("CR")
    for modality in ("DX", "CR"):
        for name, make in _WHOLE.items():
            yield f"{modality}, {name}", make(modality)
        for name in _WITHOUT:
            yield f"{modality}, {name}", _without(modality, name)
        for name in _NAMES:
            yield f"{modality}, {name}", _named(modality, name)


#: studies by what is said of them
SOURCES = dict(_sources())


def _study(*headers: Dataset) -> tuple[Dataset, ...]:
    return headers


def _lacking(keyword: str, value: str) -> Dataset:
    source = full()
    source.update(header(**{keyword: value}))
    return source


def _without_uid(keyword: str) -> Dataset:
    source = full()
    del source[keyword]
    return source


#: studies of which no valid object can be made, with what the reason must name
IMPOSSIBLE: dict[str, tuple[tuple[Dataset, ...], str]] = {
    "empty Study Instance UID": (_study(_lacking("StudyInstanceUID", "")), r"\(0020,000D\)"),
    "no Study Instance UID": (_study(_without_uid("StudyInstanceUID")), r"\(0020,000D\)"),
    "empty Series Instance UID": (_study(_lacking("SeriesInstanceUID", "")), r"\(0020,000E\)"),
    "leading zero in Series Instance UID": (_study(_lacking("SeriesInstanceUID", "1.02")), r"\(0020,000E\)"),
    "SOP Instance UID that is none": (_study(_lacking("SOPInstanceUID", "x")), r"\(0008,0018\)"),
    "empty SOP Instance UID": (_study(_lacking("SOPInstanceUID", "")), r"\(0008,0018\)"),
    "no SOP Class UID": (_study(_without_uid("SOPClassUID")), r"\(0008,0016\)"),
}
#: the same, of the study as a whole: each image alone is sound
IMPOSSIBLE_TOGETHER: dict[str, tuple[tuple[Dataset, ...], str]] = {
    "duplicate SOP Instance UID": (_study(full(), full()), r"\(0008,0018\)"),
    "two studies": (_study(full(), _lacking("StudyInstanceUID", "1.2.3")), r"studies|\(0020,000D\)"),
}
