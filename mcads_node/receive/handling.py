"""What the rules have done with an object as soon as it arrives: its priority, its hours, who else gets it.

Decided by its header before it is put on record, so that an urgent image overtakes what waits, and an
original goes on though it is never analysed. Where no rule asks for any of this the header is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from mcads_node.config import Rule, schedule_of
from mcads_node.errors import InstanceUnreadable
from mcads_node.instance import Circumstances
from mcads_node.priority import Priority
from mcads_node.product import own_output
from mcads_node.receive.arrival import Arrival
from mcads_node.route import Subject, judge, read_subject
from mcads_node.schedule import Schedule
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
            subject = read_subject(arrival.meta + arrival.dataset, _circumstances(arrival))
        except InstanceUnreadable as error:
            if not any(rule.forward for rule in rules):
                return _AS_USUAL
            return Handling(withheld=(f"its header cannot be read: {error}",))
        judged = [each for each in judge(subject, rules) if each.matches]
        shadows = tuple(
            ShadowWish(rule=each.rule.name, priority=each.rule.urgency, schedule=_schedule(each.rule))
            for each in judged
            if each.rule.shadow
        )
        if not judged or not judged[-1].is_used:
            return Handling(shadows=shadows)
        used = judged[-1].rule
        forward, withheld = self._forward(used, subject)
        return Handling(
            priority=used.urgency,
            schedule=_schedule(used),
            forward=forward,
            withheld=withheld,
            shadows=shadows,
        )

    def _forward(self, rule: Rule, subject: Subject) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Say where an object goes, and why it does not go where it would: nothing goes in a circle."""
        if rule.forward and own_output(subject.header):
            return (), ("it is a result of this product coming back",)
        sender = subject.circumstances.requestor.ae_title
        back = [
            name for name in rule.forward if not rule.forward_back and self._destinations.get(name) == sender
        ]
        names = tuple(dict.fromkeys(name for name in rule.forward if name not in back))
        return names, tuple(f"it came from {name}, and forward_back is not set" for name in back)


def _circumstances(arrival: Arrival) -> Circumstances:
    """Say how it came; what there is of its study is not looked up, for which its sender would wait."""
    return Circumstances(requestor=arrival.requestor, received_at=datetime.now(UTC))


def _schedule(rule: Rule) -> Schedule | None:
    return schedule_of(rule.schedule) if rule.schedule else None


def _asks(rule: Rule) -> bool:
    """Whether a rule has anything done that is decided here."""
    return bool(rule.forward or rule.shadow or rule.schedule) or rule.urgency is not Priority.ROUTINE
