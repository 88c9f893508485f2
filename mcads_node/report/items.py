"""What items of sequences must hold, and may (PS3.3 section 8.8, 10): items that fall short are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pydicom.dataset import Dataset

#: PS3.3 section 8.8: what a code is. What else the item may have, of context groups and equivalent codes,
#: comes with conditions of its own and says nothing more of what is meant
_CODE: Final = (
    "CodeValue",
    "LongCodeValue",
    "URNCodeValue",
    "CodingSchemeDesignator",
    "CodingSchemeVersion",
    "CodeMeaning",
)
_REFERENCE: Final = ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
_ISSUER: Final = ("LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType")
_PERSON: Final = (
    "PersonIdentificationCodeSequence",
    "PersonAddress",
    "PersonTelephoneNumbers",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionCodeSequence",
    "InstitutionalDepartmentName",
)
_QUALIFIERS: Final = (
    "UniversalEntityID",
    "UniversalEntityIDType",
    "IdentifierTypeCode",
    "AssigningFacilitySequence",
    "AssigningJurisdictionCodeSequence",
    "AssigningAgencyOrDepartmentCodeSequence",
)
_REQUEST: Final = (
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferencedStudySequence",
    "StudyInstanceUID",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ReasonForTheRequestedProcedure",
    "ReasonForRequestedProcedureCodeSequence",
    "ScheduledProcedureStepID",
    "ScheduledProcedureStepDescription",
    "ScheduledProtocolCodeSequence",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence",
)


def _is_code(item: Dataset) -> bool:
    named = [word for word in ("CodeValue", "LongCodeValue", "URNCodeValue") if word in item]
    # one name is enough, and two are one too many
    for word in named[1:]:
        del item[word]
    return (
        bool(named)
        and "CodeMeaning" in item
        and ("CodingSchemeDesignator" in item or "URNCodeValue" in named[:1])
    )


def _is_reference(item: Dataset) -> bool:
    return all(word in item for word in _REFERENCE)


def _is_issuer(item: Dataset) -> bool:
    """HL7v2 Hierarchic Designator (PS3.3 10.17): a universal ID has a type, or it is none."""
    _pair_universal_id(item)
    return "LocalNamespaceEntityID" in item or "UniversalEntityID" in item


def _is_qualifier(item: Dataset) -> bool:
    _pair_universal_id(item)
    return len(item) > 0


def _pair_universal_id(item: Dataset) -> None:
    pair = ("UniversalEntityID", "UniversalEntityIDType")
    if not all(word in item for word in pair):
        for word in pair:
            item.pop(word, None)


def _is_person(item: Dataset) -> bool:
    institution = "InstitutionName" in item or "InstitutionCodeSequence" in item
    return institution and "PersonIdentificationCodeSequence" in item


def _is_patient_id(item: Dataset) -> bool:
    if "PatientID" not in item:
        return False
    if "TypeOfPatientID" not in item:
        # type 1; RFID and BARCODE are ways to carry an ID that is, in a header, a text
        item.TypeOfPatientID = "TEXT"
    return True


def _is_breed_registration(item: Dataset) -> bool:
    return "BreedRegistrationNumber" in item and "BreedRegistryCodeSequence" in item


def _is_request(item: Dataset) -> bool:
    if "AccessionNumber" not in item:
        item.pop("IssuerOfAccessionNumberSequence", None)
    return len(item) > 0


_Rule = tuple[tuple[str, ...], Callable[[Dataset], bool]]

#: by sequence, what its items may hold, and whether one, brought in order, is an item
_RULES: Final[Mapping[str, _Rule]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("ReferencedStudySequence", "ReferencedPatientSequence"), (_REFERENCE, _is_reference)
        ),
        **dict.fromkeys(
            (
                "IssuerOfAccessionNumberSequence",
                "IssuerOfAdmissionIDSequence",
                "IssuerOfServiceEpisodeIDSequence",
                "OrderPlacerIdentifierSequence",
                "OrderFillerIdentifierSequence",
                "AssigningFacilitySequence",
            ),
            (_ISSUER, _is_issuer),
        ),
        "IssuerOfPatientIDQualifiersSequence": (_QUALIFIERS, _is_qualifier),
        "OtherPatientIDsSequence": (
            ("PatientID", "TypeOfPatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence"),
            _is_patient_id,
        ),
        "ReferringPhysicianIdentificationSequence": (_PERSON, _is_person),
        "BreedRegistrationSequence": (
            ("BreedRegistrationNumber", "BreedRegistryCodeSequence"),
            _is_breed_registration,
        ),
        "RequestAttributesSequence": (_REQUEST, _is_request),
    }
)

#: sequences that may have but one item
_SINGLE: Final = frozenset(
    {
        "AssigningAgencyOrDepartmentCodeSequence",
        "AssigningFacilitySequence",
        "AssigningJurisdictionCodeSequence",
        "BreedRegistryCodeSequence",
        "InstitutionCodeSequence",
        "IssuerOfAccessionNumberSequence",
        "IssuerOfAdmissionIDSequence",
        "IssuerOfPatientIDQualifiersSequence",
        "IssuerOfServiceEpisodeIDSequence",
        "OrderFillerIdentifierSequence",
        "OrderPlacerIdentifierSequence",
        "PatientSpeciesCodeSequence",
        "ReferringPhysicianIdentificationSequence",
        "RequestedProcedureCodeSequence",
    }
)


def orderly(keyword: str, items: list[Dataset]) -> list[Dataset]:
    """Bring the items of a sequence in order, leaving out those that cannot be.

    Parameters
    ----------
    keyword: str
        Of the sequence.
    items: list of pydicom.dataset.Dataset
        With values that are valid in themselves; changed.
    """
    rule = (_CODE, _is_code) if keyword.endswith("CodeSequence") else _RULES.get(keyword)
    kept = [item for item in items if len(item) and (rule is None or _follows(item, *rule))]
    return kept[:1] if keyword in _SINGLE else kept


def _follows(item: Dataset, allowed: tuple[str, ...], is_item: Callable[[Dataset], bool]) -> bool:
    for element in list(item):
        if element.keyword not in allowed:
            del item[element.tag]
    return len(item) > 0 and is_item(item)
