"""What the gate looks for in an image, and what a check that fails leads to, unless a rule says otherwise."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from mcads_node.instance import Verdict

#: by name, as `analyse.checks` calls it; docs/gate.md says what each looks for
CHECKS: Final[Mapping[str, Verdict]] = MappingProxyType(
    {
        # of the header
        "intent": Verdict.WARN,
        "derived": Verdict.WARN,
        "body-part": Verdict.WARN,
        "view": Verdict.WARN,
        "age": Verdict.WARN,
        "size": Verdict.WARN,
        "photometric": Verdict.UNDETERMINED,
        "burned-in": Verdict.WARN,
        # of header and content
        "grey-levels": Verdict.WARN,
        # of the content
        "contrast": Verdict.UNDETERMINED,
        "exposure": Verdict.WARN,
        "collimation": Verdict.WARN,
        "polarity": Verdict.UNDETERMINED,
        "orientation": Verdict.UNDETERMINED,
        "chest": Verdict.UNDETERMINED,
        # of the content, by an autoencoder, where analysis.reconstruction names one
        "reconstruction": Verdict.WARN,
    }
)


def known_checks(names: Iterable[str]) -> None:
    """Raise `ValueError` for names that are no check's, each with the one that may have been meant."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        told = ", ".join(f"{name!r}{_meant(name)}" for name in unknown)
        raise ValueError(f"{told} is not a check of the gate ({', '.join(CHECKS)})")


def _meant(name: str) -> str:
    near = difflib.get_close_matches(name[:100].casefold(), CHECKS, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
