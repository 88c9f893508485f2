"""``receive``: what is answered where more than one answer is right."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcads_node.config.vocabulary import Section


class ReceiveSection(Section):
    """How objects are taken."""

    conflicting_instances: Literal["keep", "refuse"] = "keep"
    # a large radiograph is 60 MiB; each association may hold so much in memory
    max_object_mib: Annotated[int, Field(ge=16, le=2000)] = 512
