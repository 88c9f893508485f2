"""Models that accompany the classifier: where the anatomy lies, and how well an image can be made anew."""

from mcads_node.companions.loading import Companions, load_companions

__all__ = ["Companions", "load_companions"]
