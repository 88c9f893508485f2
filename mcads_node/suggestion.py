"""What someone may have meant who wrote a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Say which known word is nearest, as `` (did you mean Modality?)``; empty where none is near."""
    choices = sorted(known)
    folded = word.casefold()
    same = [choice for choice in choices if choice.casefold() == folded]
    nearest = same or difflib.get_close_matches(word[:100], choices, n=1, cutoff=0.7)
    return f" (did you mean {nearest[0]}?)" if nearest else ""
