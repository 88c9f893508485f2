"""Whether a rule's conditions hold."""

from __future__ import annotations

from collections.abc import Iterable

from mcads_node.config import Condition
from mcads_node.route.values import fold, number_in


def holds(condition: Condition, values: tuple[str | float, ...]) -> bool:
    """Whether values are what a condition asks for."""
    if condition.one_of is not None and not _any_of(condition.one_of, values):
        return False
    if condition.none_of is not None and _any_of(condition.none_of, values):
        return False
    if condition.minimum is None and condition.maximum is None:
        return True
    numbers = [number for number in map(number_in, values) if number is not None]
    # a limit on a value that is absent or no number does not hold: a rule never matches on a guess
    return any(
        (condition.minimum is None or number >= condition.minimum)
        and (condition.maximum is None or number <= condition.maximum)
        for number in numbers
    )


def _any_of(words: Iterable[str], values: tuple[str | float, ...]) -> bool:
    return any(_same(word, value) for word in words for value in values or ("",))


def _same(word: str, value: str | float) -> bool:
    """Whether a word of a rule names a value: as a number where the attribute holds numbers, else as text."""
    return number_in(word) == value if isinstance(value, float) else fold(word) == fold(value)
