"""``tending``: how often the node looks after its peers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcads_node.config.vocabulary import Section


class TendingSection(Section):
    """What is done by the clock, besides retention and backup."""

    echo_minutes: Annotated[int, Field(ge=1, le=1440)] | None = 5
