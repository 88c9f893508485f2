"""A node whose PACS is away is backed up while images flow in, lost, and restored onto an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from mcads_node import phantom
from mcads_node.verbs.overview import list_studies
from mcads_node.yamlfile import write_yaml
from tests.acceptance.node import RULES, ServedNode, served, wait_for
from tests.peers import free_port, orthanc, storescu

AE_TITLE = "ORTHANC"


def image(folder: Path, number: int) -> Path:
    file = folder / f"{number}.dcm"
    file.write_bytes(phantom.save(phantom.radiograph(rows=160, columns=128, study=f"backup {number}")))
    return file


def rows_of(backup: Path, query: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(f"file:{backup / 'database'}?immutable=1", uri=True)) as connection:
        return connection.execute(query).fetchall()


def test_everything_pending_is_delivered_after_a_restoration(tmp_path: Path) -> None:
    incoming, backups = tmp_path / "in", tmp_path / "backups"
    incoming.mkdir()
    files = [image(incoming, number) for number in range(5)]
    with served(tmp_path / "old", {"ae_title": AE_TITLE, "port": free_port()}) as node:
        assert storescu(node.port, str(files[0])).returncode == 0
        wait_for(
            "a report waits for the PACS",
            lambda: list_studies(node.config, 1)[0]["deliveries"].get("PENDING"),
        )
        # the others arrive while the backup is made, and are not analysed yet
        (worker,) = node.workers()
        os.kill(worker, signal.SIGSTOP)
        flow = threading.Thread(target=lambda: [storescu(node.port, str(file)) for file in files[1:]])
        flow.start()
        wait_for("more images", lambda: len(list((tmp_path / "old/data/spool").glob("*/*"))) >= 3)
        backup = Path(json.loads(node.verb("backup", "--to", str(backups), "--json"))["folder"])
        flow.join()
        refused = node.verb("restore", str(backup), code=1)
        assert refused == ""
        node.stop(signal.SIGKILL)
        os.kill(worker, signal.SIGCONT)
    shutil.rmtree(tmp_path / "old" / "data")

    pending = rows_of(
        backup,
        "SELECT sop_instance_uid, digest FROM results JOIN deliveries ON result_id = results.id"
        " WHERE deliveries.state = 'PENDING'",
    )
    received = rows_of(backup, "SELECT sop_instance_uid FROM instances")
    unread = rows_of(backup, "SELECT sop_instance_uid FROM instances WHERE state = 'RECEIVED'")
    assert pending, "nothing waited for its delivery"
    assert unread, "everything was analysed"

    with orthanc(tmp_path / "pacs") as pacs:
        new = _node_with_an_empty_folder(tmp_path / "new", pacs.ae_title, pacs.port)
        told = new.verb("restore", str(backup))
        assert f"deliveries that wait: {len(pending)} to pacs" in told
        new.start()
        try:
            studies = [new.finished(study["study_instance_uid"]) for study in list_studies(new.config, 50)]
        finally:
            new.stop()
        assert sorted(each["sop_instance_uid"] for study in studies for each in study["images"]) == sorted(
            uid for (uid,) in received
        )
        assert {each["state"] for study in studies for each in study["images"]} == {"ANALYSED"}
        there = [each["MainDicomTags"]["SOPInstanceUID"] for each in pacs.get("/instances?expand")]
        sent = {
            result["sop_instance_uid"]: result["digest"]
            for study in studies
            for result in study["results"]
            if result["deliveries"]
        }
    # what was pending is the same object still, and the PACS has each object once
    assert set(pending) <= set(sent.items())
    assert sorted(there) == sorted(sent)
    assert len(studies) == len(received)


def _node_with_an_empty_folder(folder: Path, ae_title: str, port: int) -> ServedNode:
    folder.mkdir()
    node = ServedNode(folder=folder, port=free_port())
    write_yaml(
        node.config,
        {
            "node": {"host": "127.0.0.1", "port": node.port, "data_dir": str(folder / "data")},
            "requestors": [{"ae_title": "MODALITY", "address": "127.0.0.1"}],
            "destinations": {"pacs": {"host": "127.0.0.1", "ae_title": ae_title, "port": port}},
            "analysis": {
                "model": "mcads-demo",
                "allow_demonstration_models": True,
                "workers": 1,
            },
            "monitoring": {"port": None},
        },
    )
    write_yaml(folder / "routes.yaml", {"routes": RULES})
    return node
