"""What ``mcads-node tune`` writes down in the data folder, and ``auto`` reads."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from mcads_node.config.vocabulary import Section

#: its file, in the data folder
TUNING: Final = "tuning.yaml"


class Tuning(Section):
    """How much of this machine analysis takes best, for the processors and the model it was measured with."""

    processors: Annotated[int, Field(ge=1)]
    model: str
    workers: Annotated[int, Field(ge=1, le=64)]
    threads: Annotated[int, Field(ge=1, le=64)]
    engine: Literal["auto", "torch", "openvino"]
    #: UTC
    measured: str
    images_per_second: float
