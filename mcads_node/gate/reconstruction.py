"""Whether an autoencoder can make an image anew: what is unlike all that it knows, it cannot.

The limit is the site's: what error a radiograph has that can be read was not measured here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcads_node.gate.fault import Fault


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """How well an image was made anew."""

    #: mean absolute difference, of the whole range of values
    error: float
    #: above which the check fails
    limit: float


def reconstruction_faults(anew: Reconstruction) -> Iterator[Fault]:
    """Find an image that was made anew worse than the site allows."""
    if anew.error > anew.limit:
        reason = (
            f"An autoencoder makes the image anew with an error of {anew.error:.4f}, above the site's limit "
            f"of {anew.limit:g}: it is unlike the radiographs that it knows."
        )
        yield Fault(check="reconstruction", reason=reason)
