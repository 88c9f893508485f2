"""Models that accompany the classifier: where the anatomy lies, and how well an image can be made anew."""

from mcads_node.companions.loading import Companions, load_companions
from mcads_node.companions.reconstructor import Reconstructor, load_reconstructor
from mcads_node.companions.segmenter import Segmenter, load_segmenter

__all__ = [
    "Companions",
    "Reconstructor",
    "Segmenter",
    "load_companions",
    "load_reconstructor",
    "load_segmenter",
]
