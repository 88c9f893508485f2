"""What models beside the classifier say of one radiograph; part of the path in `mcads_node.analyse`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mcads_node.anatomy import read_anatomy
from mcads_node.companions import Companions
from mcads_node.errors import ModelUnusable
from mcads_node.gate import Reconstruction
from mcads_node.instance import Radiograph, Verdict, View
from mcads_node.structure import AnatomyReading, Structures

_UNFIT: Final = "The input is not fit for a model."
_FRONTAL: Final = (View.PA, View.AP)


@dataclass(frozen=True, kw_only=True, eq=False)
class Anatomy:
    """What is known of the anatomy in an image; nothing, where nobody asked."""

    #: of a frontal image
    reading: AnatomyReading | None = None
    #: where they are plausible
    structures: Structures | None = None
    #: why nothing is known, a sentence for an administrator, without PHI
    omitted: tuple[str, ...] = ()


def made_anew(
    radiograph: Radiograph, companions: Companions, verdicts: Mapping[str, Verdict]
) -> Reconstruction | None:
    """Have an image made anew, where that is configured and the route wants to know.

    Raises
    ------
    ModelUnusable
        The autoencoder gave no usable image: a check that was not made is not passed.
    """
    if companions.reconstructor is None or verdicts["reconstruction"] is Verdict.PASS:
        return None
    return Reconstruction(error=companions.reconstructor.error_of(radiograph.pixels), limit=companions.limit)


def anatomy_of(radiograph: Radiograph, companions: Companions) -> Anatomy:
    """Find and measure the structures of a frontal image that no check of the gate found unfit.

    They are context: where the model fails, the findings are reported all the same.
    """
    if companions.segmenter is None or radiograph.view not in _FRONTAL:
        return Anatomy()
    if any(check.verdict is Verdict.UNDETERMINED for check in radiograph.checks):
        unfit = AnatomyReading(algorithm=companions.segmenter.algorithm, refusals=(_UNFIT,))
        return Anatomy(reading=unfit)
    try:
        structures = companions.segmenter.find(radiograph.pixels)
    except ModelUnusable as error:
        return Anatomy(omitted=(f"anatomy: {error}",))
    reading = read_anatomy(radiograph, structures)
    return Anatomy(reading=reading, structures=None if reading.refusals else structures)
