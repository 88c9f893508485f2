"""``disk``: what the node does when the data folder's file system fills."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from mcads_node.config.vocabulary import Section

_Mebibytes = Annotated[int, Field(ge=0, le=2**30)]


class DiskSection(Section):
    """Two marks of free space, in MiB."""

    alert_below_mib: _Mebibytes = 5120
    refuse_below_mib: _Mebibytes = 1024

    @model_validator(mode="after")
    def _alert_comes_first(self) -> Self:
        if self.refuse_below_mib > self.alert_below_mib:
            raise ValueError(
                f"refuse_below_mib must not be more than alert_below_mib; found {self.refuse_below_mib} "
                f"and {self.alert_below_mib}"
            )
        return self
