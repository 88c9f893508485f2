"""The demo: a node and a small PACS on this machine, real associations, results read back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from rich.console import Console

from mcads_node import phantom
from mcads_node.deliver.send import Answer, Caller, DestinationAddress, Outgoing, echo, send
from mcads_node.errors import InstanceUnreadable, ReportImpossible, TransientError
from mcads_node.finding import Finding
from mcads_node.instance import View
from mcads_node.read.radiograph import read_dataset
from mcads_node.report.readback import findings_in, picture_in
from mcads_node.result import ObjectKind
from mcads_node.shipped import shipped_folder
from mcads_node.verbs.offline import files_in
from mcads_node.verbs.overview import describe_study
from mcads_node.verbs.small_pacs import AE_TITLE, SmallPacs
from mcads_node.yamlfile import write_yaml

NODE, MODALITY = "MCADS", "DEMO_MODALITY"
MODEL = "mcads-demo"
CALLER = Caller(ae_title=MODALITY)
#: starting loads torch
START_SECONDS = 180.0
FINISH_SECONDS = 600.0


class DemoFailed(TransientError):
    """Something that the demo waits for did not come, or was not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One radiograph to send."""

    name: str
    study_instance_uid: str
    sop_instance_uid: str
    outgoing: Outgoing


@dataclass(frozen=True, kw_only=True)
class DemoImage:
    """What the report says of one image."""

    name: str
    view: str
    #: read back from the report that the PACS received
    findings: tuple[Finding, ...]
    #: as ``show`` tells it; None: it has none
    triage: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class DemoObject:
    """One object that the PACS received and that was read back."""

    kind: ObjectKind
    file: Path
    picture: Path | None


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What came of the demo."""

    folder: Path
    images: tuple[DemoImage, ...]
    #: name and reason of what was not analysed
    declined: tuple[tuple[str, str], ...]
    objects: tuple[DemoObject, ...]
    cautions: tuple[str, ...]
    #: from the last image's C-STORE answer to the last object stored in the PACS
    seconds: float


def run_demo(files: Sequence[Path], folder: Path, console: Console) -> DemoResult:
    """Run the demo with `files`, or with the phantom where there are none.

    Parameters
    ----------
    files
        Radiographs, or folders of them.
    folder
        A new folder below it takes everything of this run.
    console
        Told of each step.

    Raises
    ------
    DemoFailed
        Not everything arrived, or it cannot be read back.
    """
    run = folder.absolute() / datetime.now().strftime("%Y%m%d-%H%M%S")
    sources, declined = _sources(files, run)
    if not sources:
        raise DemoFailed("; ".join(f"{name}: {reason}" for name, reason in declined) or "there is no file")
    pacs = SmallPacs(run / "pacs", NODE)
    pacs.scp.start()
    try:
        config, port = _write_configuration(run, pacs.scp.port)
        console.print(f"Starting a node on port {port} and a PACS on port {pacs.scp.port} …", highlight=False)
        node = DestinationAddress(ae_title=NODE, host="127.0.0.1", port=port)
        with running_node(config, run / "node.log", node) as process:
            for source in sources:
                console.print(f"Sending {source.name} …", highlight=False)
            refused = dict(_send(node, sources))
            sent_at = time.monotonic()
            console.print("Waiting for the report and the overlays …")
            studies = _wait(config, [source for source in sources if source not in refused], process)
    finally:
        pacs.scp.stop()
    images, more_declined, cautions = _told(studies, sources, pacs)
    return DemoResult(
        folder=run,
        images=images,
        declined=(*declined, *((source.name, why) for source, why in refused.items()), *more_declined),
        objects=tuple(_objects(studies, pacs)),
        cautions=cautions,
        seconds=max(0.0, pacs.last_stored - sent_at),
    )


# --- what is sent


def _sources(files: Sequence[Path], run: Path) -> tuple[list[Source], list[tuple[str, str]]]:
    """Lay out what is sent as Part 10 files below `run`; gives also what is not DICOM, with the reason."""
    folder = run / "sent"
    folder.mkdir(parents=True)
    if not files:
        views = {"phantom PA": View.PA, "phantom lateral": View.LATERAL}
        drawn = {name: phantom.radiograph(view, study=run.name) for name, view in views.items()}
        return [_source(name, dataset, folder) for name, dataset in drawn.items()], []
    sources, unreadable = [], []
    for file in files_in(files):
        try:
            sources.append(_source(file.name, read_dataset(file.read_bytes()), folder))
        except (InstanceUnreadable, OSError) as error:
            unreadable.append((file.name, str(error)))
    return sources, unreadable


def _source(name: str, dataset: Dataset, folder: Path) -> Source:
    file = folder / f"{len(list(folder.iterdir())) + 1}.dcm"
    # a file without meta header is given one, as a modality's association would have it
    dcmwrite(file, dataset, enforce_file_format=True)
    return Source(
        name=name,
        study_instance_uid=str(dataset.get("StudyInstanceUID", "")),
        sop_instance_uid=str(dataset.get("SOPInstanceUID", "")),
        outgoing=Outgoing.of_file(file),
    )


def _send(node: DestinationAddress, sources: Sequence[Source]) -> list[tuple[Source, str]]:
    """Send as a modality would; gives what the node did not take, with its answer."""
    by_path = {source.outgoing.path: source for source in sources}
    refused: list[tuple[Source, str]] = []

    def note(outgoing: Outgoing, answer: Answer) -> None:
        if answer.failure is not None:
            refused.append((by_path[outgoing.path], f"not taken by the node: {answer.reason}"))

    send(node, [source.outgoing for source in sources], note, CALLER)
    return refused


# --- the node


def _write_configuration(run: Path, pacs_port: int) -> tuple[Path, int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    node = {
        "node": {"ae_title": NODE, "host": "127.0.0.1", "port": port, "data_dir": str(run / "node")},
        "requestors": [{"ae_title": MODALITY, "address": "127.0.0.1"}],
        "destinations": {"pacs": {"ae_title": AE_TITLE, "host": "127.0.0.1", "port": pacs_port}},
        # a conversion for OpenVINO takes longer than to read these few
        "analysis": {"model": MODEL, "allow_demonstration_models": True, "engine": "torch"},
        "triage": str(shipped_folder("config") / "triage.yaml"),
    }
    rule = {
        "name": "demo",
        "when": {},
        "analyse": {"explain": ["grad-cam"], "explain_top_finding": True},
        "complete_when": {"quiet_seconds": 1},
        "send_to": ["pacs"],
    }
    write_yaml(run / "node.yaml", node)
    write_yaml(run / "routes.yaml", {"routes": [rule]})
    return run / "node.yaml", port


@contextmanager
def running_node(config: Path, log: Path, address: DestinationAddress) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``mcads-node serve`` with `config` as a process of its own; its output goes to `log`.

    Raises
    ------
    DemoFailed
        It does not answer a C-ECHO at `address`.
    """
    command = [sys.executable, "-m", "mcads_node", "serve", "--config", os.fspath(config)]
    with log.open("wb") as sink, subprocess.Popen(command, stdout=sink, stderr=sink) as process:  # noqa: S603
        try:
            _wait_until_it_answers(process, log, address)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_it_answers(process: subprocess.Popen[bytes], log: Path, address: DestinationAddress) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not echo(address, CALLER).succeeded:
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-2000:]
            raise DemoFailed(f"the node did not start; its log {log} ends with:\n{said}")
        time.sleep(0.2)


def _wait(config: Path, sources: Sequence[Source], process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Wait until nothing is left to do for any study, and everything is delivered."""
    wanted = sorted({source.study_instance_uid for source in sources})
    deadline = time.monotonic() + FINISH_SECONDS
    while True:
        studies = [describe_study(config, uid) for uid in wanted]
        if all(_is_finished(study) for study in studies):
            return studies
        if process.poll() is not None:
            raise DemoFailed(f"the node ended by itself; see {config.parent / 'node.log'}")
        if time.monotonic() > deadline:
            raise DemoFailed(
                f"not finished after {FINISH_SECONDS:.0f} s; see: mcads-node studies -c {config}"
            )
        time.sleep(0.2)


def _is_finished(study: dict[str, Any]) -> bool:
    waiting = [
        delivery
        for result in study["results"]
        for delivery in result["deliveries"]
        if delivery["state"] == "PENDING"
    ]
    return not study["open_workitems"] and not waiting


# --- what came back


def _told(
    studies: Sequence[dict[str, Any]], sources: Sequence[Source], pacs: SmallPacs
) -> tuple[tuple[DemoImage, ...], list[tuple[str, str]], tuple[str, ...]]:
    """Tell of each image what the newest report in the PACS says, and why others were not read."""
    names = {source.sop_instance_uid: source.name for source in sources}
    images: list[DemoImage] = []
    declined: list[tuple[str, str]] = []
    cautions: dict[str, None] = {}
    for study in studies:
        reported = _findings_of(study, pacs)
        for image in study["images"]:
            name = names.get(image["sop_instance_uid"], image["sop_instance_uid"])
            if image["state"] != "ANALYSED":
                declined.append((name, f"{image['state'].lower()}: {image['reason']}"))
                continue
            cautions[image["caution"]] = None
            found = reported.get(image["sop_instance_uid"])
            if found is None:
                raise DemoFailed(f"{name} was analysed, but the report in the PACS does not speak of it")
            images.append(DemoImage(name=name, view=image["view"], findings=found, triage=image["triage"]))
    return tuple(images), declined, tuple(caution for caution in cautions if caution)


def _findings_of(study: dict[str, Any], pacs: SmallPacs) -> dict[str, tuple[Finding, ...]]:
    reports = [result for result in _due(study) if result["kind"] == ObjectKind.SR]
    if not reports:
        return {}
    newest = max(reports, key=lambda result: result["revision"])
    return findings_in(_in_pacs(newest, pacs).read_bytes())


def _due(study: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the results that go somewhere; an SR in the class that would be sent instead does not."""
    return [result for result in study["results"] if result["deliveries"]]


def _in_pacs(result: dict[str, Any], pacs: SmallPacs) -> Path:
    file = pacs.received.get(result["sop_instance_uid"])
    if file is None:
        answers = "; ".join(str(delivery["reason"]) for delivery in result["deliveries"])
        raise DemoFailed(f"the {result['kind']} did not arrive in the PACS: {answers}")
    return file


def _objects(studies: Sequence[dict[str, Any]], pacs: SmallPacs) -> Iterator[DemoObject]:
    for study in studies:
        for result in _due(study):
            kind = ObjectKind(result["kind"])
            file = _in_pacs(result, pacs)
            named = file.with_name(f"{kind}-{file.name}")
            file.rename(named)
            try:
                picture = None if kind is ObjectKind.SR else named.with_suffix(".png")
                if picture is None:
                    findings_in(named.read_bytes())
                else:
                    picture.write_bytes(picture_in(named.read_bytes()))
            except (ReportImpossible, OSError) as error:
                raise DemoFailed(f"{named}: {error}") from error
            pacs.received[result["sop_instance_uid"]] = named
            yield DemoObject(kind=kind, file=named, picture=picture)
