"""``receive``: what is answered where more than one answer is right."""

from __future__ import annotations

from typing import Literal

from mcads_node.config.vocabulary import Section


class ReceiveSection(Section):
    """How objects are taken."""

    conflicting_instances: Literal["keep", "refuse"] = "keep"
