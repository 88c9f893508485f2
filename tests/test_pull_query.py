"""What an archive is asked, and what is made of its answers, however odd."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode

from mcads_node.config import NodeConfig, PullSection
from mcads_node.errors import PermanentError
from mcads_node.instance import is_valid_uid
from mcads_node.pull.query import (
    StudyQuery,
    dates_of,
    read_instance,
    read_series,
    read_study,
    retrieval,
)
from tests.peers import element

DAY = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("today", "20260301"),
        ("yesterday", "20260228"),
        ("last 1 days", "20260301-"),
        ("last 3 days", "20260227-"),
        ("20260101-20260131", "20260101-20260131"),
        ("20260101-", "20260101-"),
        ("", ""),
    ],
)
def test_days_in_words(words: str, asked: str) -> None:
    assert dates_of(words, DAY) == asked


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({}, "at least one key"),
        ({"study_description": "*"}, "at least one key"),
        ({"accession_number": "A*"}, "as a whole"),
        ({"patient_id": "?"}, "as a whole"),
        ({"accession_number": "A" * 17}, "AccessionNumber has no backslash, and 16 characters"),
        ({"patient_id": "DOE\\JANE"}, "PatientID"),
        ({"patient_id": "DOE\n"}, "PatientID"),
        ({"study_instance_uid": "1.2.*"}, "not a UID"),
    ],
)
def test_questions_that_no_archive_should_be_asked(query: dict[str, str], complaint: str) -> None:
    with pytest.raises(PermanentError, match=complaint) as caught:
        StudyQuery(**query)
    assert "DOE" not in str(caught.value)


def test_a_question_has_all_keys_that_are_read() -> None:
    asked = StudyQuery(accession_number="A1").identifier()
    assert (asked.QueryRetrieveLevel, asked.AccessionNumber) == ("STUDY", "A1")
    assert asked.StudyInstanceUID == asked.StudyDate == asked.PatientID == asked.ModalitiesInStudy == ""
    some = retrieval("1.2", "1.3", ("1.4", "1.5"))
    assert (some.QueryRetrieveLevel, list(some.SOPInstanceUID)) == ("IMAGE", ["1.4", "1.5"])
    assert retrieval("1.2", "1.3").QueryRetrieveLevel == "SERIES"


def answer(**values: str) -> Dataset:
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return found


def test_an_answer_that_is_none_to_the_question_is_not_taken() -> None:
    """Some archives pass over keys that they do not know, and answer with everything they have."""
    query = StudyQuery(accession_number="A1")
    for accession, taken in (("A1", True), ("A2", False), ("", False)):
        study = read_study(answer(StudyInstanceUID="1.2", AccessionNumber=accession))
        assert study is not None
        assert query.is_answered_by(study) is taken


#: elements that an answer may have: the right ones with any value, and others
ELEMENTS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                (0x0008, 0x0018),
                (0x0008, 0x0020),
                (0x0008, 0x0050),
                (0x0008, 0x0060),
                (0x0008, 0x0061),
                (0x0010, 0x0020),
                (0x0020, 0x000D),
                (0x0020, 0x000E),
                (0x0009, 0x0001),
            ]
        ),
        st.one_of(st.binary(max_size=70), st.sampled_from([b"1.2.3", b"1.2.3\0", b"CR\\DX ", b"\\\\", b""])),
    ),
    max_size=9,
    unique_by=lambda each: each[0],
)


@given(elements=ELEMENTS, read=st.sampled_from([read_study, read_series, read_instance]))
@settings(deadline=None)
def test_whatever_an_archive_answers_is_read_or_passed_over(
    elements: list[tuple[tuple[int, int], bytes]], read: Callable[[Dataset], object]
) -> None:
    encoded = b"".join(element(group, number, value) for (group, number), value in sorted(elements))
    found = read(decode(BytesIO(encoded), True, True))
    uid = getattr(found, "study_instance_uid", None) or getattr(found, "series_instance_uid", None) or found
    assert found is None or is_valid_uid(str(uid))
    named = {0x0020000D: read_study, 0x0020000E: read_series, 0x00080018: read_instance}
    values = {group << 16 | number: value for (group, number), value in elements}
    wanted = next(tag for tag, each in named.items() if each is read)
    text = values.get(wanted, b"").decode("ascii", errors="backslashreplace").strip("\0 ")
    assert (found is not None) == is_valid_uid(text)


def test_an_answer_in_python_values_is_read_as_well() -> None:
    study = read_study(answer(StudyInstanceUID="1.2", ModalitiesInStudy=["CR", "SR"], StudyDate="20260301"))  # type: ignore[arg-type]
    assert study is not None
    assert study.modalities == ("CR", "SR")


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"query": {"StudyDate": "today"}}, "either every_minutes or at"),
        ({"query": {"StudyDate": "today"}, "every_minutes": 5, "at": "02:00"}, "either every_minutes or at"),
        ({"query": {}, "every_minutes": 5}, "at least one key"),
        ({"query": {"StudyDescription": "**"}, "every_minutes": 5}, "no wildcard"),
        ({"query": {"StudyDate": "tomorrow"}, "every_minutes": 5}, "today, yesterday"),
        ({"query": {"PatientID": "1"}, "every_minutes": 5}, "PatientID"),
        ({"query": {"StudyDate": "today"}, "every_minutes": 0}, "every_minutes"),
    ],
)
def test_jobs_that_are_none(section: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        PullSection.model_validate({"source": "pacs", **section})


def test_a_job_names_a_source_that_there_is() -> None:
    job = {"source": "archive", "query": {"StudyDate": "today"}, "at": "02:00"}
    with pytest.raises(ValueError, match=r"'archive' is not one of the sources \(pacs\)"):
        NodeConfig.model_validate({"pull": {"nightly": job}}, context={"sources": ["pacs"]})
