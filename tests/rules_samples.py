"""Rules and images for the tests of matching: made by hand, and drawn at random."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword

from mcads_node.config import Rule
from mcads_node.instance import Circumstances, Requestor, View
from mcads_node.route import Subject
from tests.headers import header

#: a Friday, 22:30 UTC; in Vilnius it is Saturday, 00:30
CAME = Circumstances(
    requestor=Requestor(ae_title="CR_ROOM1", address="10.0.0.1", called_ae_title="MCADS"),
    received_at=datetime(2026, 1, 30, 22, 30, tzinfo=UTC),
    images_in_study=2,
    views_in_study=(View.PA,),
)


def rule(name: str, when: Any, **rest: Any) -> Rule:
    action = rest or {"analyse": {}, "send_to": ["pacs"]}
    return Rule.model_validate({"name": name, "when": when, **action})


def subject(illegible: tuple[str, ...] = (), /, **attributes: object) -> Subject:
    tags = frozenset(tag for keyword in illegible if (tag := tag_for_keyword(keyword)) is not None)
    return Subject(header=header(**attributes), circumstances=CAME, illegible=tags)


# --- at random

#: keyword: what such an attribute may hold, and what a rule may say of it
_WORDS: dict[str, list[str]] = {
    "Modality": ["CR", "DX", "cr ", ""],
    "StationName": ["ER1", "", "12", "12.0"],
    "ViewPosition": ["PA", "LL", ""],
}
_LIMITS: dict[str, list[Any]] = {
    "PatientAge": ["018Y", "017Y", "006M", "3W", "old", "", 18, "6M"],
    "KVP": ["120", "70.5", "", 90, 120],
    "StudyDate": ["20260131", "20251231", "2026", "", "2026-01-31"],
    "StudyTime": ["183000", "07", "noon", "", "18:30"],
}
KEYWORDS = [*_WORDS, *_LIMITS]


def values(keyword: str) -> st.SearchStrategy[str | None]:
    """What a header may hold of an attribute; None: it is absent."""
    held = [str(value).replace(":", "") for value in (_WORDS | _LIMITS)[keyword]]
    return st.none() | st.sampled_from(held)


_numbers: dict[str, list[Any]] = {
    "PatientAge": [0, 17, 18, "018Y", "6M", "2W"],
    "KVP": [60, 70.5, 120],
    "StudyDate": ["2026-01-01", "20260131"],
    "StudyTime": ["07:00", "18:30"],
}


def _condition(keyword: str) -> st.SearchStrategy[Any]:
    word = st.sampled_from([str(value) for value in (_WORDS | _LIMITS)[keyword]])
    words = word | st.lists(word, min_size=1, max_size=3)
    parts: dict[str, st.SearchStrategy[Any]] = {
        "is": words,
        "not": words,
        "matches": st.sampled_from(["^C", "1", "x*", "(PA|LL)$"]),
        "present": st.booleans(),
    }
    if keyword in _numbers:
        limit = st.sampled_from(_numbers[keyword])
        parts |= {"min": limit, "max": limit}
    long = st.fixed_dictionaries({}, optional=parts).filter(bool)
    return words | long


def _asked() -> st.SearchStrategy[dict[str, Any]]:
    facts = {
        "Requestor": st.sampled_from(["CR_ROOM1", ["X", "Y"], {"not": "CR_ROOM1"}]),
        "RequestorAddress": st.sampled_from(["10.0.0.0/8", {"not": ["10.0.0.1"]}]),
        "View": st.sampled_from(["PA", {"not": ["LATERAL"]}]),
        "ImagesInStudy": st.sampled_from([2, {"min": 3}]),
        "ViewsInStudy": st.sampled_from(["PA", {"not": ["LATERAL"]}]),
        "Time": st.sampled_from([{"from": "18:00", "to": "07:00"}, {"days": "sat", "zone": "UTC"}]),
    }
    every = {keyword: _condition(keyword) for keyword in KEYWORDS} | facts
    names = st.lists(st.sampled_from(sorted(every)), min_size=1, max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: every[name] for name in chosen}))


def whens() -> st.SearchStrategy[dict[str, Any]]:
    """What may stand under ``when``, as YAML has it."""
    groups = st.recursive(
        _asked(),
        lambda inner: st.fixed_dictionaries(
            {}, optional={how: st.lists(inner, min_size=1, max_size=2) for how in ("any", "all", "none")}
        ).filter(bool),
        max_leaves=4,
    )
    return st.just({}) | groups


def headers() -> st.SearchStrategy[dict[str, str | None]]:
    """Attributes of a header by keyword; None: absent."""
    return st.fixed_dictionaries({keyword: values(keyword) for keyword in KEYWORDS})


def told(attributes: dict[str, str | None]) -> dict[str, object]:
    """Those that are there."""
    return {keyword: value for keyword, value in attributes.items() if value is not None}
