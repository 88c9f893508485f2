"""Pulling from a real Orthanc: questions, C-MOVE, C-GET, what it refuses, and what the clock does."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import JPEGBaseline8Bit
from structlog.testing import capture_logs
from typer.testing import CliRunner

from mcads_node.cli import app
from mcads_node.config import Configuration, NodeConfig, RuleBook
from mcads_node.errors import ConfigError, PeerUnreachable, PermanentError
from mcads_node.service import disk_guard_of
from mcads_node.service.auditing import audit_of
from mcads_node.service.intake import Intake, Pokes
from mcads_node.service.pulling import pull_jobs
from mcads_node.service.receiver import Receiver
from mcads_node.state import State, open_state
from mcads_node.verbs.pulling import Pulled, Wanted, pull
from mcads_node.verbs.sources import check_sources
from mcads_node.yamlfile import write_yaml
from tests.part10_files import radiograph, write
from tests.peers import Peer, free_port, orthanc, storescu

ROUTES = {"routes": [{"name": "none", "when": {}, "decline": "nothing"}]}
DAY = "20260131"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Orthanc with three studies, which knows the node at a port."""

    peer: Peer
    #: where it sends what the node asks it to move
    node_port: int
    #: SOP Instance UIDs of radiographs, by accession number
    images: dict[str, list[str]]
    #: the files that were sent to it, likewise
    files: dict[str, list[Path]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder, node_port = tmp_path_factory.mktemp("archive"), free_port()
    node = {"AET": "MCADS", "Host": "127.0.0.1", "Port": node_port}
    nobody = {"AET": "NOBODY", "Host": "127.0.0.1", "Port": 1, "AllowFind": False, "AllowMove": False}
    images: dict[str, list[str]] = {}
    files: dict[str, list[Path]] = {}
    for accession, modalities in (("A1", ["CR", "DX", "OT"]), ("A2", ["DX"]), ("A3", ["OT"])):
        first = radiograph()
        for number, modality in enumerate(modalities):
            ds = radiograph(
                transfer_syntax=JPEGBaseline8Bit if modality == "DX" and number else "1.2.840.10008.1.2.1"
            )
            ds.StudyInstanceUID, ds.AccessionNumber, ds.Modality = first.StudyInstanceUID, accession, modality
            ds.StudyDate = DAY
            file = write(ds, folder / f"{accession}-{number}.dcm")
            files.setdefault(accession, []).append(file)
            if modality != "OT":
                images.setdefault(accession, []).append(ds.SOPInstanceUID)
    with orthanc(folder, DicomModalities={"node": node, "nobody": nobody}) as peer:
        everything = [str(file) for some in files.values() for file in some]
        done = storescu(peer.port, "-xf", _profile(folder), "Send", *everything, called="ORTHANC")
        assert done.returncode == 0, done.stdout
        yield Archive(peer=peer, node_port=node_port, images=images, files=files)


def _profile(folder: Path) -> str:
    """Write a profile by which storescu proposes each file's own transfer syntax."""
    file = folder / "storescu.cfg"
    dx = "1.2.840.10008.5.1.4.1.1.1.1"
    file.write_text(
        "[[TransferSyntaxes]]\n[A]\nTransferSyntax1 = 1.2.840.10008.1.2.1\n"
        f"[B]\nTransferSyntax1 = {JPEGBaseline8Bit}\n[[PresentationContexts]]\n[Both]\n"
        f"PresentationContext1 = {dx}\\A\nPresentationContext2 = {dx}\\B\n"
        "[[Profiles]]\n[Send]\nPresentationContexts = Both\n"
    )
    return str(file)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A node's configuration and state; `listening` gives it a receiver."""

    config: Path
    settings: NodeConfig
    state: State

    def pull(self, *, source: str | None = None, dry_run: bool = False, **wanted: Any) -> Pulled:
        return pull(self.config, source, Wanted(**wanted), lambda *_: None, dry_run=dry_run)

    def received(self) -> list[str]:
        return [
            each.sop_instance_uid
            for line in self.state.workitems.list_studies()
            for each in self.state.workitems.show_study(line.number).instances
        ]

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        configuration = Configuration(node=self.settings, book=RuleBook())
        audit = audit_of(configuration, self.state)
        intake = Intake(configuration, self.state, disk_guard_of(self.settings), audit, Pokes())
        receiver = Receiver(configuration, self.state, intake, audit)
        receiver.start()
        try:
            yield
        finally:
            receiver.stop(1.0)


@contextlib.contextmanager
def site(folder: Path, archive: Archive, method: str, **sections: Any) -> Iterator[Site]:
    told: dict[str, Any] = {
        "node": {"data_dir": str(folder / "data"), "port": archive.node_port, "host": "127.0.0.1"},
        "requestors": [{"ae_title": "ORTHANC", "address": "127.0.0.1"}],
        "sources": {
            "pacs": {
                "ae_title": "ORTHANC",
                "host": "127.0.0.1",
                "port": archive.peer.port,
                "method": method,
                "timeout_seconds": 30,
            }
        },
        "disk": {"alert_below_mib": 0, "refuse_below_mib": 0},
    }
    for name, section in sections.items():
        told[name] = {**told.get(name, {}), **section} if isinstance(section, dict) else section
    write_yaml(folder / "node.yaml", told)
    write_yaml(folder / "routes.yaml", ROUTES)
    settings = NodeConfig.model_validate(told)
    state = open_state(settings)
    try:
        yield Site(config=folder / "node.yaml", settings=settings, state=state)
    finally:
        state.close()


@pytest.mark.parametrize("method", ["move", "get"])
def test_radiographs_of_an_accession_are_fetched_once(tmp_path: Path, archive: Archive, method: str) -> None:
    with site(tmp_path, archive, method) as here, here.listening():
        seen = here.pull(accession="A1", dry_run=True)
        assert (seen.exit_code, seen.fetched, here.received()) == (0, (), [])
        assert len(seen.found.studies[0].missing) == 2
        pulled = here.pull(accession="A1")
        assert [(each.received, each.failed, each.reason) for each in pulled.fetched] == [(2, 0, None)]
        assert sorted(here.received()) == sorted(archive.images["A1"])
        study = here.state.workitems.show_study(1)
        assert {each.requestor for each in study.instances} == {"ORTHANC"}
        # the bytes are those that the archive has, in the transfer syntax that it has them in
        header = [here.state.spool.read(each.path) for each in study.instances]
        assert any(str(JPEGBaseline8Bit).encode() in each[:400] for each in header)
        # everything is here: nothing is asked for again
        again = here.pull(accession="A1")
        assert (again.exit_code, again.fetched) == (0, ())
        assert [event.what for event in here.state.workitems.show_study(1).events] == ["received"] * 2


@pytest.mark.parametrize("method", ["move", "get"])
def test_only_what_is_missing_is_fetched(tmp_path: Path, archive: Archive, method: str) -> None:
    sections = {
        "requestors": [{"ae_title": name, "address": "127.0.0.1"} for name in ("ORTHANC", "MODALITY")]
    }
    with site(tmp_path, archive, method, **sections) as here, here.listening():
        assert storescu(archive.node_port, str(archive.files["A1"][0])).returncode == 0
        pulled = here.pull(accession="A1")
        assert [(each.received, each.failed) for each in pulled.fetched] == [(1, 0)]
        assert sorted(here.received()) == sorted(archive.images["A1"])
        assert "received again" not in [event.what for event in here.state.workitems.show_study(1).events]


def test_what_can_be_asked_for(tmp_path: Path, archive: Archive) -> None:
    with site(tmp_path, archive, "get") as here:
        for wanted, code, accessions in (
            ({"accession": "NONE"}, 65, []),
            # no series of it is a radiograph
            ({"accession": "A3"}, 65, []),
            ({"patient_id": "SECRET-ID"}, 0, ["A1", "A2"]),
            ({"patient_id": "SECRET-ID", "day": date(2026, 1, 30)}, 65, []),
            ({"patient_id": "SECRET-ID", "since": date(2026, 1, 30)}, 0, ["A1", "A2"]),
        ):
            seen = here.pull(dry_run=True, **wanted)
            assert sorted(each.study.accession_number for each in seen.found.studies) == accessions
            assert seen.exit_code == code
        by_uid = here.pull(dry_run=True, study=seen_study(here, "A2"))
        assert [each.study.accession_number for each in by_uid.found.studies] == ["A2"]


def seen_study(here: Site, accession: str) -> str:
    (found,) = here.pull(dry_run=True, accession=accession).found.studies
    return found.study.study_instance_uid


def test_the_verb(tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    # it would write to the runner's own stream for good
    monkeypatch.setattr("mcads_node.cli.pulling.configure_logs", lambda: None)
    with site(tmp_path, archive, "get") as here:
        runner = CliRunner()
        options = ["--config", str(here.config)]
        with capture_logs():
            done = runner.invoke(app, ["pull", "--accession", "A2", "--from", "pacs", "--json", *options])
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        (study,) = told["studies"]
        assert (study["images"], study["here"], study["received"], study["modalities"]) == (1, 0, 1, ["DX"])
        assert "SECRET" not in done.output
        done = runner.invoke(app, ["pull", "--accession", "A2", *options], terminal_width=200)
        assert done.exit_code == 0
        assert "A2" in done.stdout
        assert runner.invoke(app, ["pull", "--accession", "NONE", *options]).exit_code == 65
        (event,) = [each for each in here.state.workitems.list_events(limit=100) if each.what == "pulled"]
        assert event.subject == "source pacs"


def test_a_question_that_names_nobody_is_not_asked(tmp_path: Path, archive: Archive) -> None:
    with site(tmp_path, archive, "get") as here:
        with pytest.raises(PermanentError, match="--accession, --study or --patient-id"):
            here.pull(since=date(2026, 1, 1))
        with pytest.raises(ConfigError, match=r"'other' is not one of them \(pacs\)"):
            here.pull(source="other", accession="A1")


def test_an_archive_that_is_not_there(tmp_path: Path, archive: Archive) -> None:
    nowhere = {"pacs": {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": free_port()}}
    with site(tmp_path, archive, "get", sources=nowhere) as here:
        with pytest.raises(PeerUnreachable, match="cannot be connected to"):
            here.pull(accession="A1")
        (check, may_send) = [*check_sources(here.settings, None), None]
        assert check is not None
        assert (check.ok, may_send) == (False, None)


@pytest.mark.parametrize("calling", ["STRANGER", "NOBODY"])
def test_an_archive_that_does_not_know_us(tmp_path: Path, archive: Archive, calling: str) -> None:
    with site(tmp_path, archive, "get", node={"ae_title": calling}) as here:
        with pytest.raises((PeerUnreachable, PermanentError)) as caught:
            here.pull(accession="A1")
        assert "ORTHANC at 127.0.0.1" in str(caught.value)
        assert caught.value.exit_code in (65, 75)


def test_what_was_to_be_moved_here_and_does_not_come(tmp_path: Path, archive: Archive) -> None:
    """Nobody listens at the node's port."""
    with site(tmp_path, archive, "move") as here:
        pulled = here.pull(accession="A1")
        (fetched,) = pulled.fetched
        assert (fetched.received, fetched.failed, pulled.exit_code) == (0, 2, 75)
        assert fetched.reason is not None
        assert "ORTHANC at 127.0.0.1" in fetched.reason


def test_check_says_whether_the_archive_may_send_here(tmp_path: Path, archive: Archive) -> None:
    with site(tmp_path, archive, "move") as here:
        assert [each.ok for each in check_sources(here.settings, None)] == [True]
    strict = {"requestors": [{"ae_title": "ORTHANC", "address": "10.0.0.0/8"}]}
    with site(tmp_path, archive, "move", **strict) as here:
        answers, may_send = check_sources(here.settings, None)
        assert (answers.ok, may_send.ok) == (True, False)
        assert "requestors do not let it send here" in may_send.text


def test_a_disk_that_is_full_refuses_what_is_pulled(tmp_path: Path, archive: Archive) -> None:
    full = {"alert_below_mib": 2**30, "refuse_below_mib": 2**30}
    with site(tmp_path, archive, "get", disk=full) as here:
        pulled = here.pull(accession="A2")
        assert [(each.received, each.failed) for each in pulled.fetched] == [(0, 1)]
        assert pulled.exit_code == 75


# --- by the clock


def jobs(here: Site, keep: Any = None) -> Any:
    stopping = threading.Event()
    configuration = Configuration(node=here.settings, book=RuleBook())
    audit = audit_of(configuration, here.state)
    intake = Intake(configuration, here.state, disk_guard_of(here.settings), audit, Pokes())
    return pull_jobs(here.settings, here.state, keep or intake.keep, None, stopping)


NIGHTLY = {"nightly": {"source": "pacs", "query": {"StudyDate": DAY}, "at": "02:00"}}


def test_what_is_fetched_by_the_clock(tmp_path: Path, archive: Archive) -> None:
    with site(tmp_path, archive, "get", pull=NIGHTLY) as here:
        (job,) = jobs(here)
        assert (job.name, job.at.hour) == ("pull-nightly", 2)
        with capture_logs() as logs:
            job.run()
            job.run()
        assert sorted(here.received()) == sorted(archive.images["A1"] + archive.images["A2"])
        # the second time there was nothing to fetch, and nothing to tell
        assert [each["received"] for each in logs if each["event"] == "study.pulled"] in ([2, 1], [1, 2])
        assert not [each for each in logs if each["event"] == "pull.failed"]
        told = [each.why for each in here.state.workitems.list_events(limit=100) if each.what == "pulled"]
        assert len(told) == 2


def test_a_failure_is_told_and_the_archive_left_alone_for_a_while(tmp_path: Path, archive: Archive) -> None:
    nowhere = {"pacs": {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": free_port()}}
    with site(tmp_path, archive, "get", pull=NIGHTLY, sources=nowhere) as here:
        (job,) = jobs(here)
        with capture_logs() as logs:
            job.run()
            job.run()
        (told,) = [each for each in logs if each["event"] == "pull.failed"]
        assert "cannot be connected to" in told["reason"]
        assert told["until"]


def test_what_never_comes_is_not_asked_for_for_ever(tmp_path: Path, archive: Archive) -> None:
    with site(tmp_path, archive, "get", pull=NIGHTLY) as here:
        asked: list[str] = []

        def refuse(arrival: Any) -> int:
            asked.append(arrival.sop_instance_uid)
            return 0xA700

        (job,) = jobs(here, refuse)
        with capture_logs():
            for _ in range(5):
                # the time that the archive is left alone is over
                job.run.__self__._resume_at = datetime(2026, 1, 1, tzinfo=UTC)
                job.run()
        assert {asked.count(uid) for uid in archive.images["A1"] + archive.images["A2"]} == {3}
