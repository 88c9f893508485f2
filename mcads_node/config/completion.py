"""``complete_when`` of a rule: when a study is taken to be complete, so that its report is made."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mcads_node.config.vocabulary import Section

#: views that can be expected; FRONTAL is either PA or AP
ExpectedView = Literal["PA", "AP", "FRONTAL", "LATERAL"]
_Count = Annotated[int, Field(ge=1, le=20)]
_Written = ExpectedView | list[ExpectedView] | dict[ExpectedView, _Count]


def _counted(written: Any) -> Any:
    """Take a list, in which a view may be named more than once, for the numbers that it means."""
    if isinstance(written, str):
        return {written: 1}
    if isinstance(written, list | tuple) and all(isinstance(each, str) for each in written):
        return dict(Counter(written))
    return written


class CompleteWhen(Section):
    """What makes a study complete: whichever of these comes first."""

    quiet_seconds: Annotated[float, Field(ge=0, le=86400)] = 10.0
    views: Annotated[
        dict[ExpectedView, _Count], BeforeValidator(_counted, json_schema_input_type=_Written)
    ] = Field(default_factory=dict)
    max_wait_seconds: Annotated[float, Field(gt=0, le=604800)] | None = None
