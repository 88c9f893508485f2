"""What the sections of the configuration are made of: names, numbers, and the base of every section."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mcads_node.suggestion import did_you_mean


def _ae_title(value: str) -> str:
    # PS3.5 table 6.2-1: AE, 16 characters of the default repertoire without backslash and controls
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", value) or not value.strip():
        raise ValueError(f"an AE title has 1 to 16 ASCII characters and no backslash; found {value!r}")
    return value.strip()


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
        raise ValueError(f"a name has up to 64 letters, digits, and _ . - and no spaces; found {value!r}")
    return value


def _absolute(value: Path) -> Path:
    # a service has no folder of its own that a relative one could be looked for in
    if not value.is_absolute():
        raise ValueError(f"expected an absolute path, such as /etc/mcads-node/tls/node.crt; found '{value}'")
    return value


AETitle = Annotated[str, AfterValidator(_ae_title)]
Name = Annotated[str, AfterValidator(_name)]
AbsoluteFile = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=0, le=65535)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Base of every section: a key that is not known is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


def all_known(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise `ValueError` that says which of `names` are not known, and which there are."""
    unknown = [name for name in names if name not in known]
    if unknown:
        choices = ", ".join(sorted(known)) or "none"
        told = ", ".join(f"{name!r}{did_you_mean(name, known)}" for name in unknown)
        raise ValueError(f"{told} is not {what} ({choices})")
