"""Attributes of the copied modules that may not or must stand with others (PS3.3 C.7, types 1C and 2C)."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset

#: PS3.3 C.7.1.1 and C.7.2.2, type 2C: of an animal these are present, empty where the source does not say
_OF_AN_ANIMAL: Final = (
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsibleOrganization",
    "PatientSexNeutered",
)
#: by what is issued, who issued it
_ISSUERS: Final = (
    ("PatientID", "IssuerOfPatientID"),
    ("PatientID", "TypeOfPatientID"),
    ("PatientID", "IssuerOfPatientIDQualifiersSequence"),
    ("AccessionNumber", "IssuerOfAccessionNumberSequence"),
    ("AdmissionID", "IssuerOfAdmissionIDSequence"),
    ("ServiceEpisodeID", "IssuerOfServiceEpisodeIDSequence"),
)


def meet_conditions(header: Dataset) -> None:
    """Leave out what cannot stand without its other half, and add what may be empty.

    Parameters
    ----------
    header: pydicom.dataset.Dataset
        With values that are valid in themselves; changed.
    """
    for issued, issuer in _ISSUERS:
        if not header.get(issued):
            header.pop(issuer, None)
    _keep_other_patient_ids(header)
    _deidentification(header)
    _responsible_person(header)
    if "PatientSpeciesDescription" in header or "PatientSpeciesCodeSequence" in header:
        for keyword in _OF_AN_ANIMAL:
            if keyword not in header:
                setattr(header, keyword, [] if keyword.endswith("Sequence") else "")


def _deidentification(header: Dataset) -> None:
    """Keep Patient Identity Removed (0012,0062) YES only with how: type 1C, and no one here can say how."""
    methods = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
    if header.get("PatientIdentityRemoved") == "YES" and not any(header.get(word) for word in methods):
        del header.PatientIdentityRemoved


def _responsible_person(header: Dataset) -> None:
    """Keep a responsible person only with the role, and a role only with the person."""
    pair = ("ResponsiblePerson", "ResponsiblePersonRole")
    if not all(header.get(word) for word in pair):
        for word in pair:
            header.pop(word, None)


def _keep_other_patient_ids(header: Dataset) -> None:
    """Carry the retired Other Patient IDs (0010,1000) over into Other Patient IDs Sequence (0010,1002)."""
    retired = header.get("OtherPatientIDs")
    if not retired or "OtherPatientIDsSequence" in header:
        return
    values = [retired] if isinstance(retired, str) else list(retired)
    items = []
    for value in filter(None, values):
        item = Dataset()
        item.PatientID = value
        item.TypeOfPatientID = "TEXT"
        items.append(item)
    header.OtherPatientIDsSequence = items
