"""What an archive is asked (PS3.4 annex C, Study Root), and what its answers say.

An answer is what a stranger wrote: it may lack what it must have, say one thing twice, or match nothing of
what was asked. What cannot be used is passed over and counted; nothing is trusted to be what was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from mcads_node.errors import PermanentError
from mcads_node.instance import is_valid_uid

_LONGEST = {"AccessionNumber": 16, "PatientID": 64, "StudyDescription": 64, "ModalitiesInStudy": 16}
_WILD = frozenset("*?")


@dataclass(frozen=True, kw_only=True)
class StudyQuery:
    """Which studies are asked for; empty: not asked for."""

    study_instance_uid: str = ""
    accession_number: str = ""
    patient_id: str = ""
    #: a date or a range of dates, as DICOM writes it
    study_date: str = ""
    #: may hold wildcards
    study_description: str = ""
    modalities_in_study: str = ""

    def __post_init__(self) -> None:
        if self.study_instance_uid and not is_valid_uid(self.study_instance_uid):
            raise PermanentError(f"{self.study_instance_uid!r} is not a UID")
        for keyword, value in self._keys().items():
            if "\\" in value or not value.isprintable() or len(value) > _LONGEST.get(keyword, 64):
                # not the value: it may be a patient's
                raise PermanentError(
                    f"{keyword} has no backslash, and {_LONGEST.get(keyword, 64)} characters"
                )
        if _WILD & set(self.accession_number + self.patient_id):
            raise PermanentError("an accession number or Patient ID is asked for as a whole, without * and ?")
        if not any(value.strip("*? ") for value in self._keys().values()):
            raise PermanentError("expected at least one key: without one, everything would be asked for")

    def identifier(self) -> Dataset:
        """Make the identifier of the C-FIND."""
        wanted = _asked("STUDY")
        for keyword, value in self._keys().items():
            setattr(wanted, keyword, value)
        return wanted

    def is_answered_by(self, study: FoundStudy) -> bool:
        """Whether an answer is one: an archive may ignore keys that it does not know."""
        asked = (
            (self.study_instance_uid, study.study_instance_uid),
            (self.accession_number, study.accession_number),
            (self.patient_id, study.patient_id),
        )
        return all(not wanted or wanted.strip() == found for wanted, found in asked)

    def _keys(self) -> dict[str, str]:
        return {
            "StudyInstanceUID": self.study_instance_uid,
            "AccessionNumber": self.accession_number,
            "PatientID": self.patient_id,
            "StudyDate": self.study_date,
            "StudyDescription": self.study_description,
            "ModalitiesInStudy": self.modalities_in_study,
        }


@dataclass(frozen=True, kw_only=True)
class FoundStudy:
    """A study that an archive has."""

    study_instance_uid: str
    study_date: str
    accession_number: str
    modalities: tuple[str, ...]
    #: to compare with what was asked
    patient_id: str


@dataclass(frozen=True, kw_only=True)
class FoundSeries:
    """A series that an archive has."""

    series_instance_uid: str
    modality: str


def series_identifier(study: str) -> Dataset:
    """Ask which series a study has."""
    wanted = _asked("SERIES")
    wanted.StudyInstanceUID, wanted.SeriesInstanceUID, wanted.Modality = study, "", ""
    return wanted


def image_identifier(study: str, series: str) -> Dataset:
    """Ask which instances a series has."""
    wanted = _asked("IMAGE")
    wanted.StudyInstanceUID, wanted.SeriesInstanceUID, wanted.SOPInstanceUID = study, series, ""
    return wanted


def retrieval(study: str, series: str, instances: tuple[str, ...] = ()) -> Dataset:
    """Ask for a series, or for some instances of it."""
    wanted = _asked("IMAGE" if instances else "SERIES")
    wanted.StudyInstanceUID, wanted.SeriesInstanceUID = study, series
    if instances:
        wanted.SOPInstanceUID = list(instances)
    return wanted


def read_study(answer: Dataset) -> FoundStudy | None:
    """Read an answer at the level of studies; None: it names none."""
    uid = _text(answer, "StudyInstanceUID")
    if not is_valid_uid(uid):
        return None
    modalities = (each.strip() for each in _text(answer, "ModalitiesInStudy").split("\\"))
    return FoundStudy(
        study_instance_uid=uid,
        study_date=_text(answer, "StudyDate"),
        accession_number=_text(answer, "AccessionNumber"),
        modalities=tuple(each for each in modalities if each),
        patient_id=_text(answer, "PatientID"),
    )


def read_series(answer: Dataset) -> FoundSeries | None:
    """Read an answer at the level of series; None: it names none."""
    uid = _text(answer, "SeriesInstanceUID")
    if not is_valid_uid(uid):
        return None
    return FoundSeries(series_instance_uid=uid, modality=_text(answer, "Modality"))


def read_instance(answer: Dataset) -> str | None:
    """Read an answer at the level of instances: the SOP Instance UID; None: it names none."""
    uid = _text(answer, "SOPInstanceUID")
    return uid if is_valid_uid(uid) else None


def dates_of(words: str, today: date) -> str:
    """Say in DICOM's form what `today`, `yesterday` or `last N days` means; dates are given back."""
    if words == "today":
        return _dicom(today)
    if words == "yesterday":
        return _dicom(today - timedelta(days=1))
    found = re.fullmatch(r"last (\d+) days", words)
    # no end: clocks of archives and modalities may be ahead
    return f"{_dicom(today - timedelta(days=int(found[1]) - 1))}-" if found else words


def _dicom(day: date) -> str:
    return f"{day:%Y%m%d}"


def _asked(level: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    return identifier


def _text(answer: Dataset, keyword: str) -> str:
    """Text of an attribute as it was encoded, whatever its VR says; bytes outside ASCII are escaped."""
    tag = Tag(keyword)
    if tag not in answer:
        return ""
    # as bytes: pydicom would validate what the archive wrote, and warn of it in its words
    value = answer.get_item(tag).value
    if isinstance(value, bytes):
        return value.decode("ascii", errors="backslashreplace").strip("\0 ")
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value).strip("\0 ")
