"""In what order findings are shown: by clinical urgency, then by score.

``urgency.csv`` names each label's tier and the reason. The tiers are a convention of this project, made to
sort a page: 1 minutes, 2 hours, 3 days, 4 no hurry, after the three categories of actionable findings of the
ACR's Actionable Reporting Work Group (minutes, hours, days) and the order of urgency that Baltruschat et al.
used for worklists of chest radiographs (Eur Radiol 2021; 31:3837–3845). Neither source has all labels, no
radiologist has reviewed the table, and no tier is written into a result. A site edits the file.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from mcads_node.finding import Finding, Presence

#: of a label that the table does not have: after those that may be acute, before those that are chronic
UNLISTED = 3


@cache
def tiers() -> Mapping[str, int]:
    """Tier by label, 1 the most urgent."""
    with (files(__package__) / "urgency.csv").open(encoding="utf-8") as table:
        return MappingProxyType({row["label"]: int(row["tier"]) for row in csv.DictReader(table)})


def page_order(finding: Finding) -> tuple[int, int, float]:
    """Key to sort by: present ones first, by tier and number; then undetermined, then absent, by number."""
    place = (Presence.PRESENT, Presence.UNDETERMINED, Presence.ABSENT).index(finding.presence)
    tier = tiers().get(finding.label, UNLISTED) if finding.presence is Presence.PRESENT else 0
    return place, tier, -finding.stated
