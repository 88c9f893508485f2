"""How urgent an image is by a site's rules: a level from 1 to 5, and what it follows from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

#: as many as there are: 1 is the most urgent; the last says that nothing was found, and never more
LEVELS: Final = 5


class Basis(StrEnum):
    """What a level, or that there is none, follows from."""

    #: a rule holds
    RULE = "rule"
    #: something is above its threshold, and no rule speaks of it
    OTHER = "other"
    #: nothing is above its threshold, and nothing speaks against the image
    NOTHING = "nothing"
    #: nothing is above its threshold, but a check of the input warns
    WARNED = "warned"
    #: nothing is above its threshold, but something is undetermined
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, kw_only=True)
class Triage:
    """The triage of one image: a suggestion that follows from its findings by rules, not a finding."""

    #: 1…`LEVELS`; None: there is none, which is no level 5
    level: int | None
    basis: Basis
    #: name of the rule, where one holds; else empty
    rule: str = ""
    #: findings that it follows from, the one farthest above its threshold first
    labels: tuple[str, ...] = ()
    #: SHA-256 of the rules, hex: others may give another level
    digest: str

    def __post_init__(self) -> None:
        if self.level is not None and not 1 <= self.level <= LEVELS:
            raise ValueError(f"a triage level lies in 1…{LEVELS}: {self}")
        if (self.basis is Basis.RULE) != bool(self.rule):
            raise ValueError(f"a rule has a name: {self}")
        found = self.basis in (Basis.RULE, Basis.OTHER)
        if found != bool(self.labels) or (found and self.level in (None, LEVELS)):
            raise ValueError(f"what is found has a level above the last one, and is named: {self}")


def decisive(triages: Sequence[Triage | None]) -> tuple[int, Triage] | None:
    """Find the triage of a study among its images': the place of the most urgent, and the study's.

    An image without a level comes before one of the last: what could not be judged is not "nothing found".
    For the same reason one that was read before there were rules takes the last level away from all.

    Parameters
    ----------
    triages
        Of all images; None: it was not held against any rules.

    Returns
    -------
    tuple or None
        None where no image was.
    """
    told = [(place, each) for place, each in enumerate(triages) if each is not None]
    if not told:
        return None
    place, chosen = min(told, key=lambda each: LEVELS - 0.5 if each[1].level is None else each[1].level)
    if chosen.level == LEVELS and len(told) < len(triages):
        chosen = replace(chosen, level=None)
    return place, chosen
