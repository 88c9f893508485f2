"""The companions that a node is configured with, loaded."""

from __future__ import annotations

from dataclasses import dataclass

from mcads_node.companions.reconstructor import Reconstructor, load_reconstructor
from mcads_node.companions.segmenter import Segmenter, load_segmenter
from mcads_node.config import ReconstructionSection
from mcads_node.model_store.store import ModelStore


@dataclass(frozen=True, kw_only=True, eq=False)
class Companions:
    """What accompanies the classifier; nothing, unless it is configured."""

    #: finds the structures of frontal images
    segmenter: Segmenter | None = None
    #: makes images anew, for the check ``reconstruction``
    reconstructor: Reconstructor | None = None
    #: error of the reconstructor above which the check fails
    limit: float = 1.0


def load_companions(
    store: ModelStore, anatomy: str | None, reconstruction: ReconstructionSection | None
) -> Companions:
    """Load what is configured.

    Parameters
    ----------
    store
        Where the models are.
    anatomy
        Name of a segmentation model, or None.
    reconstruction
        An autoencoder and the site's limit of its error, or None.

    Raises
    ------
    ModelUnusable
        As `load_segmenter` and `load_reconstructor`.
    ConfigError
        A manifest is not as it should be.
    """
    return Companions(
        segmenter=None if anatomy is None else load_segmenter(store, anatomy),
        reconstructor=None if reconstruction is None else load_reconstructor(store, reconstruction.model),
        limit=1.0 if reconstruction is None else reconstruction.limit,
    )
