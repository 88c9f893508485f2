"""What an engine, or a lower precision, has to keep to in order to be used: torch's scores in float32."""

from __future__ import annotations

from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from mcads_node.engine.base import Engine
from mcads_node.engine.conversions import Comparison
from mcads_node.engine.samples import sample_inputs, scores_by
from mcads_node.errors import ModelUnusable
from mcads_node.model_store.manifest import Manifest

log = structlog.stdlib.get_logger(__name__)

#: greatest difference of a score from torch's that is accepted
LIMIT: Final = 1e-3
#: of it for a precision lower than float32: other images than the samples may differ by more
_MARGIN: Final = 0.5


def compare(
    manifest: Manifest, precision: str, expected: NDArray[np.float32], found: NDArray[np.float32]
) -> Comparison:
    """Compare scores (N × labels) with torch's; what is not finite differs by 1."""
    thresholds = np.array(list(manifest.thresholds.values()), dtype=np.float32)
    difference = float(np.nan_to_num(np.abs(found - expected), nan=1.0).max())
    changed = int(((found >= thresholds) != (expected >= thresholds)).sum())
    limit = LIMIT if precision == "f32" else LIMIT * _MARGIN
    return Comparison(
        precision=precision,
        greatest_difference=difference,
        decisions_changed=changed,
        accepted=difference <= limit and changed == 0,
    )


def lower_or_exact(manifest: Manifest, exact: Engine, lower: Engine) -> Engine:
    """Give `lower` where its scores of the samples are those of `exact`, in float32; else `exact`.

    The log tells which, and by how much they differ.
    """
    images = sample_inputs(manifest)[:, None]
    try:
        # one at a time, as radiographs come: a device may choose other code for a batch
        expected, found = (
            np.concatenate([scores_by(engine, manifest, each) for each in images])
            for engine in (exact, lower)
        )
        compared = compare(manifest, lower.precision, expected, found)
    except ModelUnusable as error:
        log.info("precision.compared", model=manifest.name, outcome=f"{lower.precision}: {error}")
        return exact
    log.info("precision.compared", model=manifest.name, outcome=compared.in_words())
    return lower if compared.accepted else exact
