"""Versions of the rules in the durable state, on both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mcads_node.errors import PermanentError
from mcads_node.instance import View
from mcads_node.result import ObjectKind
from mcads_node.workitems import KEPT, RELOADED, InstanceDeclined, Kind, Workitems
from tests.workitems_samples import (
    ALL_KINDS,
    QUIET,
    START,
    Clock,
    analysed,
    claim_one,
    digest_of,
    fresh_store,
    received,
    stored,
)

ONE, TWO = digest_of("one"), digest_of("two")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str | Path, clock: Clock) -> Iterator[Workitems]:
    with fresh_store(database, clock) as opened:
        yield opened


def accept(store: Workitems, digest: str) -> bool:
    return store.accept_rules(digest, f"# {digest}\n", who="ona", why="reload")


def test_a_version_is_kept_when_it_is_another_than_the_one_before(store: Workitems, clock: Clock) -> None:
    assert store.rules_versions() == []
    assert accept(store, ONE)
    assert not accept(store, ONE)
    clock.forward(60)
    assert accept(store, TWO)
    assert accept(store, ONE)
    history = store.rules_versions()
    assert [version.digest for version in history] == [ONE, TWO, ONE]
    assert [version.number for version in history] == [3, 2, 1]
    assert history[-1].accepted_at == START
    assert store.rules_version(TWO[:6].upper()).text == f"# {TWO}\n"
    assert store.rules_version(ONE).number == 3
    for prefix in ("", "g", "%", TWO + "0"):
        with pytest.raises(PermanentError, match=r"versions? of the rules begins?"):
            store.rules_version(prefix)


def test_who_asked_for_a_reload_and_how_it_ended(store: Workitems) -> None:
    assert store.who_asked_for_rules() is None
    asked = store.ask_for_rules("ona (as mcads)")
    assert store.who_asked_for_rules() == "ona (as mcads)"
    assert store.reload_ended(asked) is None
    store.note("node", KEPT, "node", "wrong")
    assert store.who_asked_for_rules() is None
    again = store.ask_for_rules("jonas")
    store.note("node", RELOADED, "node", "abc")
    first, second = store.reload_ended(asked), store.reload_ended(again)
    assert first is not None
    assert second is not None
    assert (first.accepted, first.said, second.accepted, second.said) == (False, "wrong", True, "abc")


def test_images_and_results_name_the_rules_they_were_treated_by(store: Workitems, clock: Clock) -> None:
    heatmap = stored(ObjectKind.HEATMAP)
    for number, digest in (("1", ONE), ("2", TWO)):
        store.record_received(received(number))
        item = claim_one(store)
        outcome = analysed(*([heatmap] if digest == ONE else []))
        store.complete_analysis(item, replace(outcome, rules_digest=digest))
    store.record_received(received("3"))
    store.complete_analysis(claim_one(store), InstanceDeclined(reason="no", rules_digest=TWO))
    clock.forward(QUIET)
    store.complete_report(claim_one(store, Kind.REPORT), [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
    study = store.show_study(1)
    assert [image.rules_digest for image in study.instances] == [ONE, TWO, TWO]
    assert [(each.object.kind, each.rules_digest) for each in study.results] == [
        (ObjectKind.HEATMAP, ONE),
        (ObjectKind.SR, TWO),
    ]


def test_what_there_is_of_a_study(store: Workitems) -> None:
    store.record_received(received("1"))
    first = claim_one(store)
    alone = store.circumstances(first)
    assert (alone.requestor, alone.received_at) == (received().requestor, START)
    assert (alone.images_in_study, alone.views_in_study) == (1, ())
    store.complete_analysis(first, replace(analysed(), view=View.LATERAL))
    store.record_received(received("2"))
    store.record_received(received("3", "2"))
    later = store.circumstances(claim_one(store, Kind.ANALYSE))
    assert (later.images_in_study, later.views_in_study) == (2, (View.LATERAL,))


def test_images_that_rules_can_be_tried_on(store: Workitems, clock: Clock) -> None:
    for number in ("1", "2", "3"):
        store.record_received(received(number, number, at=clock.now))
        clock.forward(60)
    # other content under a known UID is no image of its own
    store.record_received(replace(received("1", "1", at=clock.now), digest=digest_of("other"), path="other"))
    assert [each.number for each in store.instances_to_try()] == [1, 2, 3]
    assert [each.number for each in store.instances_to_try(after=1, limit=1)] == [2]
    assert [each.number for each in store.instances_to_try(study=3)] == [3]
    since = received("2", "2", at=clock.now).received_at
    assert store.instances_to_try(since=since) == []
    assert (store.count_instances(START), store.count_instances(since)) == (3, 0)
    with pytest.raises(PermanentError):
        store.instances_to_try(study=9)
