"""The companions that a node is configured with, loaded; torch is needed only where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcads_node.config import ReconstructionSection
from mcads_node.model_store.store import ModelStore

if TYPE_CHECKING:
    from mcads_node.companions.reconstructor import Reconstructor
    from mcads_node.companions.segmenter import Segmenter


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
    if anatomy is None and reconstruction is None:
        return Companions()
    from mcads_node.companions.reconstructor import load_reconstructor  # noqa: PLC0415
    from mcads_node.companions.segmenter import load_segmenter  # noqa: PLC0415

    return Companions(
        segmenter=None if anatomy is None else load_segmenter(store, anatomy),
        reconstructor=None if reconstruction is None else load_reconstructor(store, reconstruction.model),
        limit=1.0 if reconstruction is None else reconstruction.limit,
    )
