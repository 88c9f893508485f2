"""Attributes that depend on one another, items, and what is lossy: each oddity alone, judged by dciodvfy."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSNearLossless,
)

from mcads_node.finding import Finding, Heatmap, Presence
from mcads_node.instance import Radiograph, View
from mcads_node.report.capture import heatmap_capture
from mcads_node.report.evidence import referable_header
from mcads_node.report.segmentation import segmentation
from mcads_node.report.source import complete_header, referenced_requests
from mcads_node.resample import geometry_for
from mcads_node.result import ObjectKind, Rendition, ResultObject
from tests import referees
from tests.headers import header
from tests.odd_values import CONDITIONS, received_bytes
from tests.report_samples import ALGORITHM, CONTEXT, full, issuer

ROWS, COLUMNS = 90, 70


def _odd(**values: object) -> Dataset:
    source = full()
    source.update(header(**values))
    return source


def _heatmap() -> Heatmap:
    return Heatmap(
        finding=Finding(label="Mass", score=0.69, threshold=0.5, presence=Presence.PRESENT),
        method="grad-cam",
        activation=np.eye(7, dtype=np.float32),
        geometry=geometry_for(ROWS, COLUMNS, 224),
    )


def _radiograph(source: Dataset) -> Radiograph:
    pixels = np.zeros((ROWS, COLUMNS), np.float32)
    return Radiograph(header=source, pixels=pixels, view=View.PA, checks=())


def _capture(source: Dataset) -> ResultObject:
    return heatmap_capture(_radiograph(source), _heatmap(), ALGORITHM, CONTEXT)


@pytest.mark.parametrize("name", CONDITIONS)
def test_an_attribute_that_cannot_stand_alone_costs_no_validity(name: str) -> None:
    made = _capture(_odd(**CONDITIONS[name]))
    verdicts = referees.dciodvfy(made.data)
    assert (verdicts.errors, verdicts.warnings) == ((), ())


def test_identity_removed_is_kept_with_its_method() -> None:
    alone = complete_header(_odd(PatientIdentityRemoved="YES"))
    told = complete_header(_odd(PatientIdentityRemoved="YES", DeidentificationMethod="by hand"))
    denied = complete_header(_odd(PatientIdentityRemoved="NO"))
    assert "PatientIdentityRemoved" not in alone
    assert (told.PatientIdentityRemoved, told.DeidentificationMethod) == ("YES", "by hand")
    assert denied.PatientIdentityRemoved == "NO"


@pytest.mark.parametrize(("found", "kept"), [(0, False), (1, True), (4, True), (5, False), ([1, 2], False)])
def test_pregnancy_status_is_one_of_four(found: object, kept: bool) -> None:
    assert ("PregnancyStatus" in complete_header(_odd(PregnancyStatus=found))) == kept


def test_an_issuer_is_kept_as_far_as_it_is_whole() -> None:
    item = header(LocalNamespaceEntityID="RIS", UniversalEntityID="1.2.3")
    whole = header(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")
    completed = complete_header(_odd(IssuerOfAccessionNumberSequence=[item]))
    assert completed.IssuerOfAccessionNumberSequence[0] == header(LocalNamespaceEntityID="RIS")
    completed = complete_header(_odd(IssuerOfAccessionNumberSequence=[whole]))
    assert completed.IssuerOfAccessionNumberSequence[0] == whole


def test_an_issuer_of_nothing_is_left_out() -> None:
    completed = complete_header(_odd(PatientID="", AccessionNumber="2024-000000000017"))
    assert not {"IssuerOfPatientID", "IssuerOfAccessionNumberSequence"} & set(completed.dir())


def test_a_code_is_its_value_scheme_and_meaning() -> None:
    code = {"CodeValue": "1", "CodingSchemeDesignator": "99X", "CodingSchemeVersion": "2", "CodeMeaning": "a"}
    odd = header(**code, LongCodeValue="1", ContextGroupExtensionFlag="Y", ContextIdentifier="4031")
    completed = complete_header(_odd(ProcedureCodeSequence=[odd]))
    assert completed.ProcedureCodeSequence[0] == header(**code)


def test_an_animal_has_what_an_animal_must_have() -> None:
    completed = complete_header(_odd(PatientSpeciesDescription="Canine"))
    assert completed.PatientSexNeutered == completed.ResponsibleOrganization == ""
    assert len(completed.PatientBreedCodeSequence) == len(completed.BreedRegistrationSequence) == 0
    assert "PatientBreedDescription" not in complete_header(full())


def test_a_responsible_person_has_a_role() -> None:
    told = complete_header(_odd(ResponsiblePerson="Jonaitis^Petras", ResponsiblePersonRole="PARENT"))
    assert (told.ResponsiblePerson, told.ResponsiblePersonRole) == ("Jonaitis^Petras", "PARENT")
    assert "ResponsiblePerson" not in complete_header(_odd(ResponsiblePerson="Jonaitis^Petras"))
    assert "ResponsiblePersonRole" not in complete_header(_odd(ResponsiblePersonRole="PARENT"))


def test_another_id_without_type_is_text() -> None:
    other = header(PatientID="LT-99", IssuerOfPatientID="GOV")
    (item,) = complete_header(_odd(OtherPatientIDsSequence=[other])).OtherPatientIDsSequence
    assert (item.PatientID, item.IssuerOfPatientID, item.TypeOfPatientID) == ("LT-99", "GOV", "TEXT")


def test_many_names_are_as_many_as_an_element_can_hold() -> None:
    names = [f"Vardėnis^Jonas {number}" for number in range(4000)]
    written = pydicom.dcmread(BytesIO(_capture(_odd(OtherPatientNames=names)).data))
    kept = written.OtherPatientNames
    assert written["OtherPatientNames"].VR == "PN"
    assert [str(name) for name in kept] == names[: len(kept)]
    lengths = [len("\\".join(names[:number]).encode()) for number in (len(kept), len(kept) + 1)]
    assert lengths[0] <= 0xFFFE < lengths[1]


def test_no_item_has_a_character_set_of_its_own() -> None:
    request = received_bytes(
        Dataset(),
        SpecificCharacterSet=b"ISO_IR 101",
        RequestedProcedureDescription=b"\xa3uk",
        RequestedProcedureID=b"1",
    )
    completed = complete_header(_odd(RequestAttributesSequence=[request]))
    (item,) = completed.RequestAttributesSequence
    assert "SpecificCharacterSet" not in item
    assert item.RequestedProcedureDescription == "Łuk"


def _numbers(request: Dataset | None) -> tuple[str, str]:
    source = _odd(RequestAttributesSequence=[] if request is None else [request], RequestedProcedureID="RP")
    (item,) = referenced_requests(complete_header(source))
    issuers = item.get("IssuerOfAccessionNumberSequence")
    return item.AccessionNumber, issuers[0].LocalNamespaceEntityID if issuers else ""


def test_an_accession_number_comes_with_its_own_issuer() -> None:
    other = header(LocalNamespaceEntityID="OTHER")
    assert _numbers(None) == ("A2024-17", issuer().LocalNamespaceEntityID)
    assert _numbers(header(RequestedProcedureID="RP")) == ("A2024-17", "RIS")
    assert _numbers(header(RequestedProcedureID="RP", AccessionNumber="B5")) == ("B5", "")
    theirs = header(RequestedProcedureID="RP", IssuerOfAccessionNumberSequence=[other])
    assert _numbers(theirs) == ("A2024-17", "RIS")
    theirs.AccessionNumber = "B5"
    assert _numbers(theirs) == ("B5", "OTHER")


@pytest.mark.parametrize(
    ("syntax", "said", "lossy", "method"),
    [
        (ExplicitVRLittleEndian, None, "00", None),
        (JPEG2000Lossless, None, "00", None),
        (JPEGBaseline8Bit, None, "01", "ISO_10918_1"),
        (JPEGBaseline8Bit, "00", "01", "ISO_10918_1"),
        (JPEGLSNearLossless, None, "01", "ISO_14495_1"),
        (JPEG2000, None, "01", "ISO_15444_1"),
        (JPEG2000, "", "01", "ISO_15444_1"),
        # it may well be: an encoder can be told to lose nothing
        (JPEG2000, "00", "00", None),
        (JPEG2000, "01", "01", None),
        (HTJ2K, None, "01", "ISO_15444_15"),
    ],
)
def test_what_may_be_lossy_is_not_called_lossless(
    syntax: UID, said: str | None, lossy: str, method: str | None
) -> None:
    source = full() if said is None else _odd(LossyImageCompression=said)
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = syntax
    segments = segmentation(
        _radiograph(source), [_heatmap()], ALGORITHM, CONTEXT, Rendition(kind=ObjectKind.SEG)
    )
    assert segments is not None
    for made in (_capture(source), segments):
        result = pydicom.dcmread(BytesIO(made.data))
        assert (result.LossyImageCompression, result.get("LossyImageCompressionMethod")) == (lossy, method)
        assert referees.dciodvfy(made.data).errors == ()
    assert referable_header(source).get("LossyImageCompression", "00") == lossy
