"""A destination that is down while many objects gather for it, and then is back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from mcads_node import phantom
from mcads_node.config import NodeConfig
from mcads_node.result import ObjectKind
from mcads_node.state import State, open_state
from mcads_node.workitems import Kind, StoredResult
from mcads_node.yamlfile import load_yaml
from tests.acceptance.node import served
from tests.attack.accounting import damage, pending, reading
from tests.attack.destination import AE_TITLE, Destination
from tests.attack.killing import SETTLE_SECONDS, Tell
from tests.attack.radiographs import radiographs, wait_until
from tests.peers import free_port
from tests.workitems_samples import ALL_KINDS, analysed, received

#: of one study
_TOGETHER = 50
_LEASE = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Outage:
    """What the outage came to."""

    objects: int
    #: objects that the destination did not get, once it was back
    lost: int
    #: UIDs with two contents
    duplicates: tuple[str, ...]
    #: times that an object came beyond the first
    repeated: int
    #: from the moment the destination was back, until the last object was stored
    seconds: float
    damage: list[str]
    alive: bool


def outage(folder: Path, objects: int, tell: Tell) -> Outage:
    """Let results gather while their destination is down; it comes back when all of them are planned.

    They are planned in the state directly: this is about delivery, and the node that delivers needs no model.
    """
    destination, data = Destination(free_port()), folder / "data"
    roles = tuple(word for role in ("receive", "deliver", "tend") for word in ("--role", role))
    address = {"ae_title": AE_TITLE, "port": destination.port}
    quiet = {"monitoring": {"port": None}}
    with served(folder, address, sections=quiet, arguments=roles) as node:
        state = open_state(load_yaml(node.config, NodeConfig))
        try:
            planned = _plan(state, objects, tell)
        finally:
            state.close()
        assert wait_until(lambda: _is_deferred(data), 60), "nobody noticed that the destination is down"
        begun = time.monotonic()
        with destination:
            while waiting := pending(data):
                tell("delivered after the outage", objects - waiting, objects)
                if time.monotonic() - begun > SETTLE_SECONDS:
                    break
                time.sleep(0.2)
            seconds = time.monotonic() - begun
            alive = node.stop() == 0
        held = destination.held
        return Outage(
            objects=len(planned),
            lost=sum(not destination.has(uid) for uid in planned),
            duplicates=tuple(destination.two_contents()),
            repeated=sum(each.times for each in held.values()) - len(held),
            seconds=seconds,
            damage=damage(data),
            alive=alive,
        )


def _is_deferred(data: Path) -> bool:
    with reading(data) as connection:
        return bool(connection.execute("SELECT 1 FROM destinations").fetchone())


def _plan(state: State, objects: int, tell: Tell) -> list[str]:
    """Put results on record, and have them due; gives their SOP Instance UIDs."""
    uids: list[str] = []
    images = radiographs()
    while len(uids) < objects:
        tell("planned for the outage", len(uids), objects)
        study = str(len(uids))
        state.workitems.record_received(received(study=study, at=datetime.now(UTC)))
        (item,) = state.workitems.claim("attack", _LEASE, kind=Kind.ANALYSE)
        results = []
        for _ in range(min(_TOGETHER, objects - len(uids))):
            image = next(images)
            image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
            file = state.results.write(phantom.save(image))
            results.append(
                StoredResult(
                    kind=ObjectKind.HEATMAP,
                    sop_class_uid=SecondaryCaptureImageStorage,
                    sop_instance_uid=str(image.SOPInstanceUID),
                    series_instance_uid=str(image.SeriesInstanceUID),
                    transfer_syntax_uid=ExplicitVRLittleEndian,
                    path=file.path,
                    size=file.size,
                    digest=file.digest,
                )
            )
        assert state.workitems.complete_analysis(item, analysed(*results, quiet=0))
        (item,) = state.workitems.claim("attack", _LEASE, kind=Kind.REPORT)
        assert state.workitems.complete_report(item, [], {"pacs": ALL_KINDS}, ())
        uids += [result.sop_instance_uid for result in results]
    return uids
