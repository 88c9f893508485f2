"""Whose a study is: whether an image is of the same patient as the images before it, and which of them count.

A study is of one patient. Where a PACS moves it to another one, images come under its UID that name another
Patient ID: they are held, until a person says whose the study is (`moving`). Then it is of its second
patient, and so on; every image taken in has the number of its patient, and a report speaks of those of one.

The IDs themselves are not on record, only digests of them that can be compared within one study.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import BindParameter, ColumnElement, bindparam, select

from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.schema import analyses, instances, studies, workitems

OTHER_PATIENT = "it is held: its Patient ID (0010,0020) is another than that of the study's other images"

_PATIENTS_OF = (
    select(instances.c.patient, instances.c.issuer)
    .join(studies, studies.c.id == instances.c.study_id)
    .where(instances.c.study_id == bindparam("study"), instances.c.patient_number == studies.c.patient_number)
    .distinct()
)


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Who an image says that it is of."""

    #: digests of Patient ID and of its issuer; None: it does not say
    patient: str | None
    issuer: str | None


def is_same_patient(said: Patient, known: Iterable[Patient]) -> bool:
    """Whether what an image says is compatible with what those before it said.

    What is absent contradicts nothing: an ID without its issuer is the same ID, and an image without an ID is
    of whoever its study is of.
    """
    named = [each for each in known if each.patient is not None]
    if said.patient is None or not named:
        return True
    issuers = {each.issuer for each in named if each.patient == said.patient}
    if not issuers:
        return False
    return said.issuer is None or issuers == {None} or said.issuer in issuers


def patients_of(tx: Transaction, study: int) -> list[Patient]:
    """Give what the images of a study say that were taken in since it is of the patient that it is of now."""
    found = tx.connection.execute(_PATIENTS_OF, {"study": study})
    return [Patient(patient=row.patient, issuer=row.issuer) for row in found]


def patient_number(tx: Transaction, study: int) -> int:
    """Say which of its patients a study is of now."""
    number: int = tx.connection.execute(_NUMBER, {"study": study}).scalar_one()
    return number


_NUMBER = select(studies.c.patient_number).where(studies.c.id == bindparam("study"))


def is_of_its_patient() -> ColumnElement[bool]:
    """Give a condition on rows of ``analyses``: the image is of the patient that its study is of now."""
    return analyses.c.instance_id.in_(
        select(instances.c.id)
        .join(studies, studies.c.id == instances.c.study_id)
        .where(
            instances.c.study_id == analyses.c.study_id,
            instances.c.patient_number == studies.c.patient_number,
        )
        .correlate(analyses)
    )


def reports_of_its_patient(study: int | BindParameter[int]) -> ColumnElement[bool]:
    """Give a condition on rows of ``workitems``: the report speaks of the patient that its study is of."""
    ours = select(analyses.c.id).where(analyses.c.study_id == study, is_of_its_patient())
    return workitems.c.covers.in_(ours)
