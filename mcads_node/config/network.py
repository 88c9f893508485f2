"""``network``: how long a peer is waited for, and how much it may say at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcads_node.config.vocabulary import Section

_Seconds = Annotated[float, Field(gt=0.0, le=3600.0)]


class NetworkSection(Section):
    """Of every association, in either direction."""

    connect_seconds: _Seconds = 10.0
    acse_seconds: _Seconds = 30.0
    dimse_seconds: _Seconds = 60.0
    idle_seconds: _Seconds = 60.0
    # PS3.8 annex D.1: of the variable field of a P-DATA-TF. Zero, which is no limit, is not offered
    max_pdu_bytes: Annotated[int, Field(ge=4096, le=1_048_576)] = 131_072
