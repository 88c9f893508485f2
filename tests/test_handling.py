"""What is decided of an object when it arrives, by its header and the rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from mcads_node import product
from mcads_node.config import RoutesConfig
from mcads_node.instance import Requestor
from mcads_node.priority import Priority
from mcads_node.receive.arrival import Arrival, StoreCommand, arrival_of, keep_in
from mcads_node.receive.content import InMemory
from mcads_node.receive.handling import Handler
from mcads_node.spool import Spool
from mcads_node.workitems import Handling, Workitems, open_store
from tests.part10_files import DX_FOR_PRESENTATION, data_set_bytes, radiograph

MODALITY = Requestor(ae_title="MODALITY", address="10.20.0.7", called_ae_title="MCADS")
DESTINATIONS = {"pacs": "PACS", "archive": "ARCHIVE"}
NIGHT = {"from": "20:00", "to": "06:00", "zone": "Europe/Vilnius"}
READ: dict[str, Any] = {"analyse": {}, "send_to": ["pacs"]}


def handler(*rules: dict[str, Any]) -> Handler:
    named = [{"name": f"rule {number}", "when": {}, **rule} for number, rule in enumerate(rules)]
    made = Handler(DESTINATIONS)
    made.use_rules(RoutesConfig.model_validate({"routes": named}).routes)
    return made


def arrival(requestor: Requestor = MODALITY, **changes: Any) -> Arrival:
    ds = radiograph()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    command = StoreCommand(
        requestor=requestor,
        sop_class_uid=DX_FOR_PRESENTATION,
        sop_instance_uid=ds.SOPInstanceUID,
        context_sop_class_uid=DX_FOR_PRESENTATION,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    return arrival_of(command, data_set_bytes(file.getvalue()))


def test_the_first_rule_that_matches_says_how_urgent_it_is() -> None:
    decide = handler(
        {**READ, "when": {"StationName": "ER"}, "priority": "stat"},
        {**READ, "when": {"StationName": "WARD"}, "priority": "low", "schedule": NIGHT},
        READ,
    ).handling_of
    assert decide(arrival(StationName="er ")).priority is Priority.STAT
    ward = decide(arrival(StationName="WARD"))
    assert ward.priority is Priority.LOW
    assert ward.schedule is not None
    assert ward.schedule.windows[0].zone == "Europe/Vilnius"
    assert decide(arrival()) == Handling()


def test_an_original_goes_on_whether_it_is_analysed_or_declined() -> None:
    decide = handler(
        {"when": {"StationName": "QA"}, "decline": "a phantom", "forward": ["archive"]},
        {**READ, "forward": ["archive", "pacs"]},
    ).handling_of
    assert decide(arrival(StationName="QA")).forward == ("archive",)
    assert decide(arrival()).forward == ("archive", "pacs")
    # what is not analysed for another reason than a rule's is forwarded as its rule says
    assert decide(arrival(BodyPartExamined="KNEE")).forward == ("archive", "pacs")


def test_nothing_goes_in_a_circle() -> None:
    rule = {**READ, "forward": ["archive", "pacs"]}
    from_pacs = replace(MODALITY, ae_title="PACS")
    back = handler(rule).handling_of(arrival(from_pacs))
    assert back.forward == ("archive",)
    assert back.withheld == ("it came from pacs, and forward_back is not set",)
    allowed = handler({**rule, "forward_back": True}).handling_of(arrival(from_pacs))
    assert (allowed.forward, allowed.withheld) == (("archive", "pacs"), ())
    ours = handler({**rule, "forward_back": True}).handling_of(
        arrival(Manufacturer=product.MANUFACTURER, ManufacturerModelName=product.MODEL_NAME)
    )
    assert ours.forward == ()
    assert "this product" in ours.withheld[0]


def test_shadows_are_those_before_the_rule_that_is_used() -> None:
    decide = handler(
        {"when": {"StationName": "ER"}, "analyse": {}, "shadow": True, "priority": "routine"},
        {"analyse": {}, "shadow": True, "schedule": NIGHT},
        {**READ, "when": {"StationName": "ER"}},
        {"analyse": {}, "shadow": True},
        {"decline": "no"},
    ).handling_of
    first, second = decide(arrival(StationName="ER")).shadows
    assert (first.rule, first.priority, first.schedule) == ("rule 0", Priority.ROUTINE, None)
    assert (second.rule, second.priority) == ("rule 1", Priority.LOW)
    assert second.schedule is not None
    assert [each.rule for each in decide(arrival()).shadows] == ["rule 1", "rule 3"]


def test_no_rule_matches() -> None:
    decide = handler({**READ, "when": {"StationName": "ER"}, "forward": ["archive"]}).handling_of
    assert decide(arrival()) == Handling()


def test_a_header_that_cannot_be_read_costs_nothing_but_the_forwarding() -> None:
    broken = replace(arrival(), content=InMemory(b"\x08\x00\x16\x00UI\x02\x001"))
    forwards = handler({**READ, "forward": ["archive"]}).handling_of(broken)
    assert (forwards.forward, forwards.priority) == ((), Priority.ROUTINE)
    assert "header cannot be read" in forwards.withheld[0]
    assert handler({**READ, "priority": "stat"}).handling_of(broken) == Handling()


def test_a_header_is_not_read_where_no_rule_asks() -> None:
    # were it read, these bytes would be told of
    assert handler(READ).handling_of(replace(arrival(), content=InMemory(b""), meta=b"")) == Handling()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Workitems]:
    opened = open_store(tmp_path / "node.db")
    yield opened
    opened.close()


def test_it_is_on_record_with_the_object(store: Workitems, tmp_path: Path) -> None:
    decide = handler({**READ, "forward": ["archive"], "priority": "stat"}).handling_of
    keep = keep_in(Spool(tmp_path / "spool"), store, handling_of=decide)
    assert keep(arrival()).status == 0x0000
    # an object that is not what its sender says goes nowhere
    wrong = arrival()
    objection = arrival_of(
        StoreCommand(
            requestor=MODALITY,
            sop_class_uid=DX_FOR_PRESENTATION,
            sop_instance_uid="1.2.3",
            context_sop_class_uid=DX_FOR_PRESENTATION,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
        ),
        wrong.dataset,
    )
    assert keep(objection).status == 0xA900
    assert store.pending_by_destination() == {"archive": 1}
    assert store.show_study(1).workitems[0].priority is Priority.STAT
