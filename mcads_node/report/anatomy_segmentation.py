"""Segmentation of structures: where a model takes lungs, heart and others to be, in the pixels of the source.

Nobody verified the masks, and every description says so; what is not sure of a structure's code, its segment
says too (``anatomy.csv``).
"""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm
from mcads_node.instance import Radiograph
from mcads_node.report import codes, identity, wording
from mcads_node.report.annotation import annotation, line
from mcads_node.report.content_items import code_sequence
from mcads_node.report.evidence import referable_header
from mcads_node.report.making import Making, result_object
from mcads_node.report.segments import Mask, write_segments
from mcads_node.report.structure_codes import StructureCode, structure_code
from mcads_node.report.translation import N_
from mcads_node.resample import to_source
from mcads_node.result import Rendition, ReportContext, ResultObject
from mcads_node.structure import Structures

#: CID 7150
_CATEGORY: Final = Code("91723000", "SCT", "Anatomical Structure")
_MEANING: Final = N_("Automatic mask, not verified")


def anatomy_segmentation(
    radiograph: Radiograph,
    structures: Structures,
    reader: Algorithm,
    context: ReportContext,
    rendition: Rendition,
) -> ResultObject | None:
    """Make the segmentation of one image, a BINARY segment a structure.

    Parameters
    ----------
    radiograph: Radiograph
        The image, in source geometry.
    structures: Structures
        What was found in it, and by which model: the object is that model's.
    reader: Algorithm
        Of the findings that it stands beside: part of its identity, or the analyses of one image by two
        models would write two objects under one UID.
    context: ReportContext
        Times. As of a heatmap's capture, the revision is no part of it.
    rendition: Rendition
        Language, series number and description.

    Returns
    -------
    ResultObject or None
        Explicit VR Little Endian; equal arguments give equal bytes. None where no structure has a pixel.

    Raises
    ------
    ReportImpossible
        If the source has no spacing or no orientation of its rows and columns, its header lacks a UID that
        must be named, the structures are of another image, or one has no code.
    """
    geometry = structures.geometry
    if (geometry.rows, geometry.columns) != radiograph.pixels.shape:
        raise ReportImpossible(f"the structures are of a {geometry.rows} × {geometry.columns} image")
    found = {name: mask for name in structures.probabilities if (mask := mask_of(structures, name)).any()}
    if not found:
        return None
    header = referable_header(radiograph.header)
    making = _making(header, structures.algorithm, reader, context, rendition)
    made = annotation(header, making, SegmentationStorage, "SEG")
    made.ContentDescription = line(wording.short_caution(making.algorithm, making.tr), making.tr(_MEANING))
    # type 1 here; the version of a model is the device
    made.DeviceSerialNumber = making.algorithm.device_uid
    segments = [_segment(structure_code(name), header, making, structures.threshold) for name in found]
    write_segments(made, header, list(found.values()), segments)
    return result_object(made, rendition)


def mask_of(structures: Structures, name: str) -> Mask:
    """Spread a structure's mask over the source: bool, rows × columns; False outside the square."""
    mask: Mask = to_source(structures.probabilities[name], structures.geometry) >= structures.threshold
    return mask


def _making(
    header: Dataset, algorithm: Algorithm, reader: Algorithm, context: ReportContext, rendition: Rendition
) -> Making:
    uid = identity.object_uid(
        rendition.kind,
        [str(header.SOPInstanceUID)],
        algorithm,
        {},
        detail=identity.told_apart(rendition, context, identity.ANATOMY, reader.device_uid),
    )
    return Making(
        rendition=rendition,
        sop_instance_uid=uid,
        algorithm=algorithm,
        context=context,
        method=identity.ANATOMY,
    )


def _segment(of: StructureCode, header: Dataset, making: Making, threshold: float) -> Dataset:
    """Describe one segment (PS3.3 C.8.20.4); its number is given later."""
    algorithm, tr = making.algorithm, making.tr
    segment = Dataset()
    segment.SegmentLabel = line(wording.short_caution(algorithm, tr), "AI:", of.meaning)
    model = f"{algorithm.name} {algorithm.version}"
    segment.SegmentDescription = "; ".join(filter(None, (tr(_MEANING), model, of.note, algorithm.caution)))
    segment.SegmentAlgorithmType = "AUTOMATIC"
    segment.SegmentAlgorithmName = line(algorithm.name)
    segment.SegmentationAlgorithmIdentificationSequence = [_identification(algorithm, threshold)]
    segment.SegmentedPropertyCategoryCodeSequence = code_sequence(_CATEGORY)
    kind = Dataset()
    kind.update(code_sequence(of.code)[0])
    if of.laterality is not None:
        kind.SegmentedPropertyTypeModifierCodeSequence = code_sequence(of.laterality)
    segment.SegmentedPropertyTypeCodeSequence = [kind]
    segment.TrackingID = f"{of.meaning} ({wording.source_text(header)})"
    segment.TrackingUID = identity.tracking_uid(str(header.SOPInstanceUID), of.structure, algorithm)
    return segment


def _identification(algorithm: Algorithm, threshold: float) -> Dataset:
    """Algorithm Identification (PS3.3 10.16)."""
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = code_sequence(codes.ARTIFICIAL_INTELLIGENCE)
    item.AlgorithmName = algorithm.name
    item.AlgorithmVersion = algorithm.version
    parameters = [f"weights SHA-256: {algorithm.weights_digest}", f"mask: output at or above {threshold:g}"]
    if algorithm.caution:
        parameters.append(f"caution: {algorithm.caution}")
    item.AlgorithmParameters = "; ".join(parameters)
    return item
