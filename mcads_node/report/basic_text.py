"""The Basic Text SR: the result in sentences, for viewers and RIS that show text and nothing else.

TID 2000. Its title says what it is made from, not who made it; that a device did is its observer context, and
the first lines say that nobody verified it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import BasicTextSRStorage

from mcads_node.finding import Algorithm
from mcads_node.report import content_items, document
from mcads_node.report.document import Draft
from mcads_node.report.making import result_object
from mcads_node.report.narrative import ImageNarrative, Narrative, narrative
from mcads_node.result import ImageReading, ObjectKind, Rendition, ReportContext, ResultObject

#: CID 7000
TITLE: Final = Code("18748-4", "LN", "Diagnostic Imaging Report")
#: CID 7001
SUMMARY: Final = Code("55112-7", "LN", "Summary")
FINDINGS: Final = Code("59776-5", "LN", "Findings")
PROCEDURE_DESCRIPTIONS: Final = Code("55111-9", "LN", "Current Procedure Descriptions")
KEY_IMAGES: Final = Code("55113-5", "LN", "Key Images")
#: CID 7002
FINDING: Final = Code("121071", "DCM", "Finding")
PROCEDURE_DESCRIPTION: Final = Code("121065", "DCM", "Procedure Description")
#: CID 7003
SOURCE: Final = Code("121112", "DCM", "Source of Measurement")

_DEFAULT: Final = Rendition(kind=ObjectKind.BASIC_TEXT_SR)
#: characters of a line that a viewer has room for
_LINE: Final = 100


def basic_text_report(
    readings: Sequence[ImageReading],
    algorithm: Algorithm,
    context: ReportContext,
    rendition: Rendition = _DEFAULT,
) -> ResultObject:
    """Write the study's result as text.

    Parameters
    ----------
    readings: Sequence[ImageReading]
        All images of the study that were read, at least one, in any order; headers however odd.
    algorithm: Algorithm
        Who read them.
    context: ReportContext
        Times, revision, predecessor, and why images were not read.
    rendition: Rendition
        Language and series.

    Returns
    -------
    ResultObject
        A Part 10 file in Explicit VR Little Endian; the same bytes for the same arguments.

    Raises
    ------
    ReportImpossible
        As `mcads_node.report.document.draft`.
    """
    draft = document.draft(readings, algorithm, context, rendition)
    report = document.begin(draft, BasicTextSRStorage, "SR")
    document.add_document_general(report, draft, draft.images)
    report.update(_tree(draft, narrative(draft)))
    return result_object(report, rendition)


def _tree(draft: Draft, said: Narrative) -> Dataset:
    context = [
        document.language_item(draft.rendition.language),
        *document.device_observer(draft.algorithm),
    ]
    sections = [
        content_items.container(SUMMARY, [content_items.text(SUMMARY, text) for text in _summary(said)]),
        content_items.container(FINDINGS, [item for image in said.images for item in _findings(image)]),
        content_items.container(
            PROCEDURE_DESCRIPTIONS,
            [content_items.text(PROCEDURE_DESCRIPTION, text) for text in (said.model, *said.notes)],
        ),
        content_items.container(KEY_IMAGES, [_source(image) for image in said.images]),
    ]
    return content_items.container(TITLE, [*context, *sections], None, template="2000")


def _summary(said: Narrative) -> Iterator[str]:
    yield said.headline
    yield ". ".join(filter(None, (said.caution, said.unverified)))
    yield from said.remarks
    yield from said.warnings


def _findings(image: ImageNarrative) -> Iterator[Dataset]:
    """Write what was found on one image, each sentence with the image it is inferred from."""
    for text in filter(None, (*image.present, image.undetermined, image.absent, image.anatomy)):
        # viewers that show a long text as it is written do not wrap it (measured: OHIF 3.13)
        item = content_items.text(FINDING, _in_lines(f"{image.title}. {text}"))
        item.ContentSequence = [_source(image, inferred=True)]
        yield item


def _in_lines(text: str) -> str:
    # a number stays with what it is of: textwrap parts at no other space than that of ASCII
    held = re.sub(r" (?=\d)", "\N{NO-BREAK SPACE}", text)
    return "\r\n".join(textwrap.wrap(held, _LINE)).replace("\N{NO-BREAK SPACE}", " ")


def _source(image: ImageNarrative, *, inferred: bool = False) -> Dataset:
    header = image.reading.header
    return content_items.reference(
        (header.SOPClassUID, header.SOPInstanceUID),
        name=SOURCE,
        relationship="INFERRED FROM" if inferred else "CONTAINS",
    )
