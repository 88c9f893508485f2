"""The conformance statement says what the code does: every table in it is compared with its source."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from io import BytesIO
from typing import get_args

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.charset import python_encoding
from pydicom.dataset import Dataset
from pydicom.uid import UID

from mcads_node import __version__, product
from mcads_node.association import MAX_PDU, Timeouts
from mcads_node.backoff import ErrorKind, RetryPolicy
from mcads_node.config import (
    DestinationSection,
    NetworkSection,
    NodeConfig,
    NodeSection,
    ReportSection,
    SRClass,
)
from mcads_node.finding import COMBINED, PLI, Heatmap, Presence
from mcads_node.instance import Radiograph, Requestor, View
from mcads_node.profile import negotiated, renditions
from mcads_node.pull import fetching, scu
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.receive import arrival
from mcads_node.receive.admission import Admission, AllowedRequestor
from mcads_node.receive.contexts import STORAGE_CLASSES, VERIFICATION
from mcads_node.receive.listener import LONGEST_PDU
from mcads_node.report import image_library
from mcads_node.report.anatomy_segmentation import anatomy_segmentation
from mcads_node.report.basic_text import basic_text_report
from mcads_node.report.capture import heatmap_capture, summary_capture
from mcads_node.report.codes import PRESENCES, PRIVATE_SCHEME, PROBABILITY, QUALITIES, finding_codes
from mcads_node.report.identity import SERIES_NUMBER
from mcads_node.report.key_objects import (
    REJECTED_FOR_QUALITY,
    REJECTED_FOR_SAFETY,
    REJECTION_SERIES_NUMBER,
    RejectedObject,
    key_objects,
    rejection_note,
)
from mcads_node.report.pdf import pdf_report
from mcads_node.report.presentation_state import presentation_state
from mcads_node.report.segmentation import segmentation
from mcads_node.report.sr import SOP_CLASSES, measurement_report
from mcads_node.report.structure_codes import structure_codes
from mcads_node.resample import geometry_for
from mcads_node.result import ObjectKind, Rendition, ResultObject
from mcads_node.service.configured import timeouts_of
from mcads_node.store_status import answer_of
from tests.anatomy_samples import MEASURED, structures
from tests.documents import CONFORMANCE, plain, table, tables
from tests.report_samples import ALGORITHM, CONTEXT, UNFIT, full, reading, with_triage

TEXT = CONFORMANCE.read_text(encoding="utf-8")
#: value, scheme and meaning, as the statement writes a code
CODE = re.compile(r'\(([\w%.{}-]+), (\w+), "([^"]+)"\)')


def rows_of(first: str) -> dict[str, str]:
    """Two-column tables without a header, as one dictionary; it must have a row `first`."""
    found = {row[0]: row[1] for rows in tables(CONFORMANCE) if rows[0] == ["", ""] for row in rows[1:]}
    assert first in found
    return found


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


def report() -> ResultObject:
    return measurement_report([reading(full(1)), reading(full(2), checks=(UNFIT,))], ALGORITHM, CONTEXT)


def possible_renditions() -> Iterator[Rendition]:
    """Every rendition that differs on the network."""
    for kind in ObjectKind:
        section = DestinationSection.model_validate(
            {
                "ae_title": "PACS",
                "host": "pacs",
                "port": 104,
                "objects": [kind],
                "sr_classes": get_args(SRClass),
                "captures": {"transfer_syntax": "rle"},
            }
        )
        yield from (Rendition(kind=kind), *renditions(section, ReportSection()).renditions)


@cache
def objects() -> tuple[ResultObject, ...]:
    """One of each: of an image with everything in its header, and of the note that takes a report back."""
    header = full(1)
    pixels = np.linspace(-1024, 1024, 64 * 48, dtype=np.float32).reshape(64, 48)
    seen = Radiograph(header=header, pixels=pixels, view=View.PA, checks=())
    activation = np.zeros((7, 7), np.float32)
    activation[3, 3] = 1
    (finding,) = [each for each in reading(header).findings if each.label == "Mass"]
    found = replace(finding, presence=Presence.PRESENT)
    geometry = geometry_for(64, 48, 224)
    heatmap = Heatmap(finding=found, method="grad-cam", activation=activation, geometry=geometry)
    of_an_image: dict[ObjectKind, Callable[..., ResultObject | None]] = {
        ObjectKind.HEATMAP: partial(heatmap_capture, seen, heatmap),
        ObjectKind.GSPS: partial(presentation_state, seen, [heatmap]),
        ObjectKind.SEG: partial(segmentation, seen, [heatmap]),
    }
    readings = [
        replace(with_triage(reading(header)), thumbnail=picture(), anatomy=MEASURED),
        replace(with_triage(reading(full(2), checks=(UNFIT,))), thumbnail=picture()),
    ]
    of_the_study: dict[ObjectKind, Callable[..., ResultObject | None]] = {
        ObjectKind.SR: partial(measurement_report, readings),
        ObjectKind.SUMMARY: partial(summary_capture, readings),
        ObjectKind.BASIC_TEXT_SR: partial(basic_text_report, readings),
        ObjectKind.KOS: partial(key_objects, readings),
        ObjectKind.PDF: partial(pdf_report, readings),
    }
    build = {**of_an_image, **of_the_study}
    made = [build[each.kind](ALGORITHM, CONTEXT, each) for each in possible_renditions()]
    rejected = RejectedObject(
        sop_class_uid=SOP_CLASSES[0], sop_instance_uid="2.25.5", series_instance_uid="2.25.6"
    )
    notes = [
        rejection_note(header, [rejected], "mistaken", CONTEXT, title=title)
        for title in (REJECTED_FOR_QUALITY, REJECTED_FOR_SAFETY)
    ]
    by_other_methods = [
        heatmap_capture(seen, replace(heatmap, method=COMBINED, combined=(found,)), ALGORITHM, CONTEXT),
        heatmap_capture(seen, replace(heatmap, method=PLI), ALGORITHM, CONTEXT),
    ]
    drawn = {name: np.ones((8, 8), bool) for name in structure_codes()}
    anatomy = anatomy_segmentation(
        seen, structures(drawn, 64, 48), ALGORITHM, CONTEXT, Rendition(kind=ObjectKind.SEG)
    )
    made.append(anatomy)
    assert None not in made
    return (*(each for each in made if each is not None), *by_other_methods, *notes)


def test_it_is_of_this_version() -> None:
    assert f"MCADS node {__version__}," in TEXT
    rows = rows_of("Implementation Class UID")
    assert rows["Implementation Class UID"] == product.IMPLEMENTATION_CLASS_UID
    assert rows["Implementation Version Name"] == product.IMPLEMENTATION_VERSION_NAME


def test_sop_classes_as_scp() -> None:
    told = {uid: name for name, uid, role in table(CONFORMANCE, "SOP class", "UID", "role") if role == "SCP"}
    assert told == {**STORAGE_CLASSES, VERIFICATION: "Verification"}


def test_transfer_syntaxes_as_scp() -> None:
    told = [uid for _, uid in table(CONFORMANCE, "transfer syntax", "UID")]
    assert sorted(told) == sorted(TRANSFER_SYNTAXES)
    assert all(UID(uid).is_transfer_syntax for uid in told)


def test_sop_classes_as_scu() -> None:
    rows = table(CONFORMANCE, "SOP class", "UID", "object")
    told = {(uid, syntax.split("(")[-1].rstrip(")")) for _, uid, _, syntax in rows if uid != VERIFICATION}
    assert told == {(each.sop_class_uid, each.transfer_syntax_uid) for each in objects()}
    assert told == {negotiated(each) for each in possible_renditions()}
    assert {UID(uid).name for _, uid, *_ in rows} == {row[0] for row in rows} - {"Verification"} | {
        UID(VERIFICATION).name
    }


def test_received_objects_as_scu() -> None:
    told = {uid: name for name, uid in table(CONFORMANCE, "received SOP class", "UID")}
    assert told == STORAGE_CLASSES


def test_sop_classes_of_queries_and_retrievals() -> None:
    told = {uid: name for name, uid, *_ in table(CONFORMANCE, "SOP class", "UID", "service") if uid}
    assert set(told) == {scu.FIND, scu.MOVE, scu.GET}
    assert told == {uid: UID(uid).name for uid in told}
    assert f"At most {scu.MOST_ANSWERS} answers" in " ".join(TEXT.split())
    assert f"up to {fetching.AT_ONCE} SOP Instance UIDs" in " ".join(TEXT.split())


def test_association_rejections() -> None:
    allowed = AllowedRequestor(ae_title="CR", address="10.0.0.0/8")
    admission = Admission(
        ae_title="MCADS", requestors=(allowed,), max_associations=3, max_associations_per_requestor=2
    )

    def decide(ae: str, called: str, open_associations: list[str], congested: bool) -> str:
        requestor = Requestor(ae_title=ae, address="10.0.0.1", called_ae_title=called)
        rejection = admission.decide(requestor, open_associations, congested)
        assert rejection is not None
        return f"{rejection.result} {rejection.source} {rejection.diagnostic}"

    made = [
        decide("STRANGER", "MCADS", [], False),
        decide("CR", "OTHER", [], False),
        decide("CR", "MCADS", [], True),
        decide("CR", "MCADS", ["DX", "DX", "DX"], False),
        decide("CR", "MCADS", ["CR", "CR"], False),
    ]
    rows = table(CONFORMANCE, "cause", "result")
    assert [" ".join(cell.split()[0] for cell in row[1:]) for row in rows] == made


def test_statuses_as_scp() -> None:
    told = {int(row[0], 16) for row in table(CONFORMANCE, "status", "meaning", "what became of the object")}
    answered = {
        arrival.SUCCESS,
        arrival.INVALID_SOP_INSTANCE,
        arrival.SOP_CLASS_NOT_SUPPORTED,
        arrival.OUT_OF_RESOURCES,
        arrival.DATA_SET_DOES_NOT_MATCH,
        arrival.CANNOT_UNDERSTAND,
        arrival.CONFLICTING_INSTANCE,
    }
    # 0xC211: pynetdicom's, where a handler raises
    assert told == answered | {0xC211}


def test_statuses_as_scu() -> None:
    words = {
        None: "stored",
        ErrorKind.TRANSIENT: "deferred",
        ErrorKind.UNREACHABLE: "destination deferred",
        ErrorKind.PERMANENT: "refused",
    }
    told: dict[int, str] = {}
    for row in table(CONFORMANCE, "status", "meaning", "what the node does"):
        ends = [int(end, 16) for end in row[0].split("–")] if row[0].startswith("0x") else [-1]
        told |= dict.fromkeys(range(ends[0], ends[-1] + 1), row[2].partition(":")[0])
    wrong = [f"0x{s:04X}" for s in range(0x10000) if told.get(s, told[-1]) != words[answer_of(s).failure]]
    assert not wrong, wrong[:10]


def test_limits_and_timeouts() -> None:
    rows = rows_of("Maximum PDU that is offered")
    assert rows["Maximum PDU that is offered"].startswith(f"{MAX_PDU} bytes")
    assert f"{LONGEST_PDU} bytes" in rows["Maximum PDU that is offered"]
    assert NetworkSection().max_pdu_bytes == MAX_PDU
    limits = NodeSection()
    told_limits = rows["Associations accepted at once"]
    assert told_limits.startswith(f"{limits.max_associations} ")
    assert f" {limits.max_associations_per_requestor} of one calling AE title" in told_limits
    assert f"Port {NodeSection().port} by default" in TEXT
    timeouts = Timeouts()
    told = [float(row[1]) for row in table(CONFORMANCE, "timeout", "seconds")]
    assert told == [timeouts.connect, timeouts.acse, timeouts.dimse, timeouts.network]
    # what the configuration says by itself is what the code does by itself
    assert timeouts_of(NodeConfig()) == timeouts


def test_patience() -> None:
    policy = RetryPolicy()
    assert (policy.base.total_seconds(), policy.factor, policy.cap.total_seconds()) == (5, 2, 15 * 60)
    assert policy.max_attempts == 5
    assert policy.max_age is not None
    assert policy.max_age.days == 7
    assert "5 seconds and doubles up to 15 minutes" in " ".join(TEXT.split())


def test_series_of_results() -> None:
    rows = table(CONFORMANCE, "object", "SOP class", "Modality")
    told = {(row[2], int(row[3])) for row in rows}
    made = [pydicom.dcmread(BytesIO(each.data)) for each in objects()]
    assert told == {(each.Modality, each.SeriesNumber) for each in made}
    assert {number for _, number in told} >= {*SERIES_NUMBER.values(), REJECTION_SERIES_NUMBER}
    names = {(each.SeriesNumber, each.SOPClassUID.name.removesuffix(" Storage")) for each in made}
    assert {(int(row[3]), name) for row in rows for _, name in names if name in row[1]} >= names


def test_findings_and_private_codes() -> None:
    told = {row[0]: (row[1], row[2]) for row in table(CONFORMANCE, "label", "Finding")}
    there = {label: (_written(each.code), _written(each.site)) for label, each in finding_codes().items()}
    assert told == there
    assert f"`{PRIVATE_SCHEME}`" in TEXT


def test_structures() -> None:
    told = {row[0]: tuple(row[1:]) for row in table(CONFORMANCE, "structure", "Segmented Property Type")}
    assert told == {
        name: (_written(each.code), _written(each.laterality), each.note)
        for name, each in structure_codes().items()
    }


def _written(code: object) -> str:
    if code is None:
        return ""
    value, scheme, meaning = (getattr(code, name) for name in ("value", "scheme_designator", "meaning"))
    return f'({value}, {scheme}, "{meaning}")'


def codes_in(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        for item in element.value if element.VR == "SQ" else ():
            if "CodeValue" in item:
                yield f'({item.CodeValue}, {item.CodingSchemeDesignator}, "{item.CodeMeaning}")'
            yield from codes_in(item)


def test_every_code_that_is_written_is_told_and_no_other() -> None:
    written: set[str] = set()
    for each in objects():
        written |= set(codes_in(pydicom.dcmread(BytesIO(each.data))))
    # which of these is written depends on the input
    possible = {_written(code) for code in (*PRESENCES.values(), *QUALITIES.values(), PROBABILITY)}
    possible |= {_written(code) for code in image_library.CODES}
    possible |= {'(1, UCUM, "no units")', '(lt, RFC5646, "Lithuanian")'}
    text = " ".join(TEXT.split())
    told = {f'({value}, {scheme}, "{meaning}")' for value, scheme, meaning in CODE.findall(text)}
    told.add('(%, UCUM, "%")')  # the statement writes units without their meaning
    assert written <= told
    assert told <= written | possible


@pytest.mark.parametrize(
    ("row", "prefix"),
    [("Single-byte, without code extensions", "ISO_IR "), ("With code extensions", "ISO 2022 IR ")],
)
def test_character_sets_that_are_read(row: str, prefix: str) -> None:
    told = set(re.findall(r"\d+", rows_of(row)[row].removeprefix(prefix.strip())))
    there = {name.removeprefix(prefix) for name in python_encoding if name.startswith(prefix)}
    assert told == there - {"192"}


def test_character_set_that_is_written() -> None:
    assert pydicom.dcmread(BytesIO(report().data)).SpecificCharacterSet == "ISO_IR 192"
    assert plain("always written in ISO_IR 192") in TEXT


def test_uids_are_of_the_arc_that_is_told() -> None:
    written = report()
    assert written.sop_instance_uid.startswith("2.25.")
    assert written.series_instance_uid.startswith("2.25.")
    assert "2.25 UID" in TEXT
