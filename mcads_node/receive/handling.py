"""What the rules have done with an object as soon as it arrives: its priority, its hours, who else gets it.

Decided by its header before it is put on record, so that an urgent image overtakes what waits, and an
original goes on though it is never analysed. Where no rule asks for any of this the header is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydicom.dataset import Dataset

from mcads_node.config import Rule
from mcads_node.errors import InstanceUnreadable
from mcads_node.instance import Requestor
from mcads_node.priority import Priority
from mcads_node.product import own_output
from mcads_node.read.part10 import read_header
from mcads_node.receive.arrival import Arrival
from mcads_node.route import matching
from mcads_node.workitems.records import Handling, ShadowWish

_AS_USUAL: Final = Handling()


class Handler:
    """Decides by the rules how objects are handled.

    Parameters
    ----------
    destinations
        AE title of each destination, by its name.
    """

    def __init__(self, destinations: Mapping[str, str]) -> None:
        self._destinations = dict(destinations)
        self._rules: tuple[Rule, ...] = ()

    def use_rules(self, rules: tuple[Rule, ...]) -> None:
        """Decide by `rules` from the next object on."""
        self._rules = rules

    @property
    def forwards(self) -> bool:
        """Whether any rule sends objects on."""
        return any(rule.forward for rule in self._rules)

    def handling_of(self, arrival: Arrival) -> Handling:
        """Decide how an object is handled; one whose header cannot be read is analysed in its turn."""
        rules = self._rules
        if not any(_asks(rule) for rule in rules):
            return _AS_USUAL
        try:
            header = read_header(arrival.meta + arrival.dataset)
        except InstanceUnreadable as error:
            if not any(rule.forward for rule in rules):
                return _AS_USUAL
            return Handling(withheld=(f"its header cannot be read: {error}",))
        return self._decide(header, arrival.requestor, rules)

    def _decide(self, header: Dataset, requestor: Requestor, rules: tuple[Rule, ...]) -> Handling:
        used: Rule | None = None
        shadows: list[ShadowWish] = []
        for rule in matching(header, requestor, rules):
            if rule.shadow:
                schedule = rule.schedule.schedule if rule.schedule else None
                shadows.append(ShadowWish(rule=rule.name, priority=rule.urgency, schedule=schedule))
            else:
                used = rule
        if used is None:
            return Handling(shadows=tuple(shadows))
        forward, withheld = self._forward(used, header, requestor)
        return Handling(
            priority=used.urgency,
            schedule=used.schedule.schedule if used.schedule else None,
            forward=forward,
            withheld=withheld,
            shadows=tuple(shadows),
        )

    def _forward(
        self, rule: Rule, header: Dataset, requestor: Requestor
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Say where an object goes, and why it does not go where it would: nothing goes in a circle."""
        if rule.forward and own_output(header):
            return (), ("it is a result of this product coming back",)
        back = [
            name
            for name in rule.forward
            if not rule.forward_back and self._destinations.get(name) == requestor.ae_title
        ]
        names = tuple(dict.fromkeys(name for name in rule.forward if name not in back))
        return names, tuple(f"it came from {name}, and forward_back is not set" for name in back)


def _asks(rule: Rule) -> bool:
    """Whether a rule has anything done that is decided here."""
    return bool(rule.forward or rule.shadow or rule.schedule) or rule.urgency is not Priority.ROUTINE
