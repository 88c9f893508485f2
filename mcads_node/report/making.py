"""The making of one object: what every kind begins with, and how it becomes a Part 10 file."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm
from mcads_node.report import identity, source
from mcads_node.report.translation import Translator, translator
from mcads_node.result import Rendition, ReportContext, ResultObject


@dataclass(frozen=True, kw_only=True)
class Making:
    """What is known of an object before it is written."""

    rendition: Rendition
    sop_instance_uid: str
    algorithm: Algorithm
    context: ReportContext
    #: of explanation, of a heatmap
    method: str = ""

    @property
    def tr(self) -> Translator:
        """Texts in the rendition's language."""
        return translator(self.rendition.language)


def begin_object(header: Dataset, making: Making, sop_class_uid: str, modality: str) -> Dataset:
    """Write patient, study, series, equipment, times and identity: SOP Common and what stands above it.

    Parameters
    ----------
    header: pydicom.dataset.Dataset
        Of the source that patient and study are copied from, from `referable_header`.
    making: Making
        What the object is to be.
    sop_class_uid: str
        Of the object.
    modality: str
        Of its series, as the SOP class demands it or a destination wants it.
    """
    made = Dataset()
    source.copy_patient_and_study(header, made)
    source.stamp_equipment(made, making.algorithm)
    source.stamp_dates(made, making.context)
    made.SOPClassUID = sop_class_uid
    made.SOPInstanceUID = making.sop_instance_uid
    made.Modality = modality
    identity.stamp_series(made, making.rendition, making.algorithm, making.context, making.method)
    return made


def result_object(made: Dataset, rendition: Rendition) -> ResultObject:
    """Encode a finished object in the transfer syntax of its rendition.

    Raises
    ------
    ReportImpossible
        The transfer syntax is neither Explicit VR Little Endian nor RLE Lossless.
    """
    return ResultObject(
        kind=rendition.kind,
        sop_class_uid=str(made.SOPClassUID),
        sop_instance_uid=str(made.SOPInstanceUID),
        series_instance_uid=str(made.SeriesInstanceUID),
        transfer_syntax_uid=rendition.transfer_syntax_uid,
        data=_encoded(source.finish(made), rendition.transfer_syntax_uid),
        variant=rendition.variant,
    )


def _encoded(plain: bytes, transfer_syntax_uid: str) -> bytes:
    if transfer_syntax_uid == ExplicitVRLittleEndian:
        return plain
    if transfer_syntax_uid != RLELossless:
        raise ReportImpossible(
            f"a result in transfer syntax {UID(transfer_syntax_uid).name}: "
            "expected Explicit VR Little Endian or RLE Lossless"
        )
    dataset = dcmread(BytesIO(plain))
    # The plugin by name: another one packs the same pixels into other bytes, and pydicom's own takes 15 times
    # as long (measured: 4.9 s for 2500 × 2048). But gdcm ends the process on an odd number of bytes.
    is_odd = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel % 2 == 1
    plugin = "pydicom" if is_odd else "gdcm"
    dataset.compress(RLELossless, encoding_plugin=plugin, generate_instance_uid=False)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
