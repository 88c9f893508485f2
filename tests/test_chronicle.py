"""The append-only record of events, as it is added to and read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mcads_node.errors import PermanentError
from mcads_node.verbs.chronicle import list_events
from mcads_node.verbs.overview import retry_study
from mcads_node.verbs.person import administrator
from mcads_node.workitems import Workitems
from mcads_node.yamlfile import write_yaml
from tests.workitems_samples import START, Clock, analyse_all, fresh_store, received


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str | Path, clock: Clock) -> Iterator[Workitems]:
    with fresh_store(database, clock) as opened:
        yield opened


def test_what_concerns_the_node_stands_beside_what_concerns_studies(store: Workitems, clock: Clock) -> None:
    store.note("reader/MCADS", "started", "node", "version 0.1.0")
    clock.forward(10)
    store.record_received(received("1", "1"))
    store.record_received(received("1", "2"))
    clock.forward(10)
    analyse_all(store)
    store.note("reader/MCADS", "stopped", "node")
    found = store.list_events()
    assert [found[0].what, found[-1].what] == ["started", "stopped"]
    assert (found[0].who, found[0].subject, found[0].why) == ("reader/MCADS", "node", "version 0.1.0")
    assert found[0].study_instance_uid is None
    assert {each.study_instance_uid for each in found} == {None, "1.2.3.1", "1.2.3.2"}
    numbers = [each.number for each in found]
    assert numbers == sorted(numbers)


def test_events_by_study_by_moment_and_by_number(store: Workitems, clock: Clock) -> None:
    for number in range(5):
        store.note("node", f"event {number}", "node")
        clock.forward(60)
    store.record_received(received("1", "7"))
    of_study = store.list_events("1.2.3.7")
    assert of_study
    assert {each.study_instance_uid for each in of_study} == {"1.2.3.7"}
    assert store.list_events(1) == of_study
    # the last ones, and the first ones since a moment, both in order
    last = store.list_events(limit=3)
    assert [each.number for each in last] == [each.number for each in store.list_events()][-3:]
    since = store.list_events(since=START + timedelta(seconds=60), limit=2)
    assert [each.what for each in since] == ["event 1", "event 2"]
    with pytest.raises(PermanentError, match=r"no study 9\.9"):
        store.list_events("9.9")


def test_files_of_a_study_in_the_order_they_came(store: Workitems) -> None:
    images = [received(str(number), "1") for number in range(3)]
    for image in images:
        store.record_received(image)
    store.record_received(received("1", "2"))
    assert store.files_of("1.2.3.1") == [image.path for image in images]
    assert store.files_of("1.2.3.99") == []


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_yaml(tmp_path / "node.yaml", {"node": {"data_dir": str(tmp_path / "data")}})
    (tmp_path / "data").mkdir()
    with fresh_store(tmp_path / "data", lambda: datetime.now(UTC)) as store:
        store.record_received(received())
    return tmp_path / "node.yaml"


def test_a_retry_by_hand_is_on_record_with_who_did_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    retry_study(config, "1")
    monkeypatch.setenv("SUDO_USER", "ona")
    retry_study(config, "1")
    retried = [each for each in list_events(config, "1", None, 100) if each["what"] == "retried"]
    account = administrator().split("(as ")[-1].rstrip(")")
    assert [each["who"] for each in retried] == [account, f"ona (as {account})"]
    assert account not in ("", "administrator")


def test_an_account_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert administrator() == "uid 4000000000"


def test_a_moment_without_a_zone_is_of_this_machine(config: Path) -> None:
    def since(moment: datetime) -> list[dict[str, Any]]:
        return list_events(config, None, moment, 100)

    hour = timedelta(hours=1)
    assert since(datetime.now() - hour)
    assert since(datetime.now() + hour) == []
    assert since(datetime.now(UTC) - hour)
    assert since(datetime.now(UTC) + hour) == []
