"""``drift``: when scores that are distributed otherwise than before are told of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcads_node.config.vocabulary import Section


class DriftSection(Section):
    """With what the last seven days are compared, and from when on it is an alert."""

    reference_weeks: Annotated[int, Field(ge=1, le=520)] = 4
    minimum_images: Annotated[int, Field(ge=20, le=1_000_000)] = 200
    psi: Annotated[float, Field(gt=0, le=100)] | None = 0.25
    ks: Annotated[float, Field(gt=0, le=1)] | None = 0.2
