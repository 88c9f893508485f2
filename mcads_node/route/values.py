"""What an image answers to a rule that asks: the values of its header, and what the node knows of it.

An answer tells three cases apart: values, none (absent or empty), and what cannot be read. Nothing is
concluded from the last: neither a condition nor its opposite holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from mcads_node.config import Attribute, Fact
from mcads_node.instance import Circumstances
from mcads_node.quantity import PADDING, Age, age_in, completed_between, date_in
from mcads_node.read.attributes import PYDICOM_ERRORS, odd_data_expected
from mcads_node.read.part10 import read_header_and_gaps
from mcads_node.read.view import view_of

Value = str | float

#: what decides the projection; where one of them cannot be read, it is not known
_VIEW_TAGS = frozenset({0x00540220, 0x00185101, 0x00200020})
_PATIENT_AGE, _PATIENT_BIRTH_DATE, _STUDY_DATE = 0x00101010, 0x00100030, 0x00080020
#: what pydicom puts where bytes are no text of the declared character set
_NOT_DECODED = "\ufffd"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The image that rules are asked about."""

    header: Dataset
    circumstances: Circumstances
    #: tags that the received header has, and whose bytes are no value
    illegible: frozenset[int] = frozenset()


def read_subject(data: bytes, circumstances: Circumstances) -> Subject:
    """Read the header of an instance, to ask rules about it.

    Raises
    ------
    InstanceUnreadable
        The bytes are no DICOM object, or its header cannot be parsed.
    """
    header, illegible = read_header_and_gaps(data)
    return Subject(header=header, circumstances=circumstances, illegible=illegible)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found."""

    #: empty where it is absent or empty
    values: tuple[Value, ...] = ()
    #: why it cannot be read; empty where it can
    unreadable: str = ""

    @property
    def is_there(self) -> bool:
        """Whether there is any value but padding."""
        return any(not isinstance(value, str) or fold(value) for value in self.values)


class _Unreadable(Exception):
    """The text says why."""


def fold(value: str) -> str:
    """Make upper and lower case the same, and take the padding off."""
    return value.strip(PADDING).casefold()


def answer_to(asked: Attribute, subject: Subject) -> Answer:
    """Find what a rule asks of."""
    try:
        if asked.fact is not None:
            return Answer(values=_of_fact(asked.fact, subject))
        return Answer(values=_of_attribute(asked, subject))
    except _Unreadable as error:
        return Answer(unreadable=str(error))


def age_of(subject: Subject, unit: str) -> Answer:
    """Give Patient's Age in completed `unit`, by the birth date where the age is not told."""
    try:
        told = _text(_PATIENT_AGE, subject)
        age = age_in(told)
        if age is not None:
            return Answer(values=(float(age.completed(unit)),))
        between = _age_by_dates(subject, unit)
        if between is None and told:
            return Answer(unreadable="it is no age")
        return Answer(values=() if between is None else (float(between),))
    except _Unreadable as error:
        return Answer(unreadable=str(error))


def ages_in(answer: Answer) -> Iterator[Age | None]:
    """Read values as ages; None for one that is none."""
    return (age_in(_told(value)) for value in answer.values if _told(value).strip(PADDING))


def shown(answer: Answer) -> str:
    """Write an answer for whoever asks why; it may tell of a patient."""
    if answer.unreadable:
        return answer.unreadable
    text = " \\ ".join(_told(value) for value in answer.values) if answer.is_there else ""
    # what a terminal would obey is not shown
    text = "".join(letter if letter.isprintable() else "·" for letter in text)
    return text if len(text) <= 100 else f"{text[:97]}…"


def _told(value: Value) -> str:
    return f"{value:.15g}" if isinstance(value, float) else value


def _of_fact(fact: Fact, subject: Subject) -> tuple[Value, ...]:
    known = subject.circumstances
    if fact is Fact.REQUESTOR:
        return (known.requestor.ae_title,)
    if fact is Fact.REQUESTOR_ADDRESS:
        return (known.requestor.address,)
    if fact is Fact.CALLED_AE_TITLE:
        return (known.requestor.called_ae_title,)
    if fact is Fact.IMAGES_IN_STUDY:
        return (float(known.images_in_study),)
    if subject.illegible & _VIEW_TAGS:
        raise _Unreadable("an attribute that tells the projection cannot be read")
    view = view_of(subject.header)
    views = (view,) if fact is Fact.VIEW else (*known.views_in_study, view)
    return tuple(dict.fromkeys(str(each) for each in views))


def _of_attribute(asked: Attribute, subject: Subject) -> tuple[Value, ...]:
    if asked.path[0] in subject.illegible:
        raise _Unreadable("its bytes are no value of its VR")
    datasets: list[Dataset] = [subject.header]
    if asked.path[0] >> 16 == 0x0002:
        datasets = [subject.header.file_meta] if hasattr(subject.header, "file_meta") else []
    for tag in asked.path[:-1]:
        datasets = [item for dataset in datasets for item in _items(dataset, tag)]
    return tuple(value for dataset in datasets for value in _values(dataset, asked.path[-1]))


def _items(dataset: Dataset, tag: int) -> Iterable[Dataset]:
    value = _get(dataset, tag)
    if value is None:
        return ()
    if not isinstance(value, Sequence):
        raise _Unreadable("its items cannot be read")
    return value


def _values(dataset: Dataset, tag: int) -> Iterator[Value]:
    value = _get(dataset, tag)
    if value is None:
        return
    if isinstance(value, Sequence):
        yield from ((f"{len(value)} items",) if len(value) else ())
        return
    try:
        with odd_data_expected():
            several = value if isinstance(value, MultiValue | list | tuple) else (value,)
            found = [_plain(each) for each in several]
    except PYDICOM_ERRORS:
        # a name is decoded only when it is written as text
        raise _Unreadable("its bytes are no value of its VR") from None
    yield from found


def _plain(value: object) -> Value:
    # DS, IS and the binary numbers; a Decimal only where pydicom was told to use it
    if isinstance(value, int | float | Decimal):
        return float(value)
    if isinstance(value, bytes):
        try:
            return value.decode("ascii").strip(PADDING)
        except UnicodeDecodeError:
            raise _Unreadable("its bytes are no text") from None
    text = str(value)
    if _NOT_DECODED in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _Unreadable("its bytes are no text of the declared character set")
    return text


def _get(dataset: Dataset, tag: int) -> object:
    try:
        with odd_data_expected():
            return dataset[tag].value if Tag(tag) in dataset else None
    except PYDICOM_ERRORS:
        raise _Unreadable("its bytes are no value of its VR") from None


def _text(tag: int, subject: Subject) -> str:
    asked = Attribute(key="", path=(tag,))
    return next((_told(value).strip(PADDING) for value in _of_attribute(asked, subject)), "")


def _age_by_dates(subject: Subject, unit: str) -> int | None:
    birth, study = _date(_PATIENT_BIRTH_DATE, subject), _date(_STUDY_DATE, subject)
    if birth is None or study is None:
        return None
    if study < birth:
        raise _Unreadable("the study is dated before the patient's birth")
    return completed_between(birth, study, unit)


def _date(tag: int, subject: Subject) -> date | None:
    text = _text(tag, subject)
    day = date_in(text)
    if text and day is None:
        raise _Unreadable("the birth date or the study date is no date")
    return day
