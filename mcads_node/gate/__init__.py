"""Gate: whether an image is what the model was made for (the step between read and infer).

::

    header  → what is said of the image speaks against it
    grey    → blank, clipped, too few grey levels
    field   → little of it is exposed
    frontal → inverted, turned, or no chest from the front at all
    reconstruction → an autoencoder, where the site has one, cannot make it anew

What the header forbids outright was declined before (`mcads_node.admit`). Here nothing is declined and no
pixel is changed: an image that fails a check is analysed, and what that leads to, a warning or no claim at
all, is the route's to say. ``docs/gate.md`` has the rates of false alarms and misses, as they were measured.
"""

from mcads_node.gate.checking import failed_checks
from mcads_node.gate.reconstruction import Reconstruction

__all__ = ["Reconstruction", "failed_checks"]
