"""``backup``: where a copy of the node's state is put every day."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from mcads_node.config.vocabulary import Section


def time_of_day(value: object) -> time:
    """Take hours and minutes; the zone is that of the machine."""
    try:
        return time.fromisoformat(str(value)).replace(tzinfo=None)
    except ValueError:
        raise ValueError(f"expected a time of day such as 03:00; found {value!r}") from None


class BackupSection(Section):
    """A backup a day; null as the directory: none is made by itself."""

    directory: Path | None = None
    at: Annotated[time, BeforeValidator(time_of_day)] = time(3)
    keep: Annotated[int, Field(ge=1, le=1000)] = 7
