"""Storage SCPs to compare, each a real process: the node's receiver, Orthanc, and DCMTK's storescp."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from protocol import ROOT

from mcads_node.yamlfile import write_yaml

#: DCMTK and Orthanc leave Nagle's algorithm on unless told otherwise, which costs 40 ms an object
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1", "PYTHONPATH": str(ROOT)}
CALLING = "BENCH"
_START_SECONDS = 120.0


class Unavailable(Exception):
    """A program that is to be measured is not installed, or does not start."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """A Storage SCP that listens."""

    ae_title: str
    port: int
    process: int


@dataclass(frozen=True, kw_only=True)
class Maker:
    """A Storage SCP that can be started with an empty store."""

    name: str
    version: Callable[[], str]
    #: started in a folder, which it may fill
    start: Callable[[Path], contextlib.AbstractContextManager[Store]]


def program(name: str) -> str:
    """Path of a program; not of pynetdicom's, which has DCMTK's names and lies where Python does."""
    own = Path(sys.executable).parent
    folders = [folder for folder in os.get_exec_path() if Path(folder) != own]
    # daemons lie where a user's PATH does not look
    found = shutil.which(name, path=os.pathsep.join([*folders, "/usr/sbin", "/usr/local/sbin"]))
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


def version_of(name: str) -> str:
    """First number that looks like a version in what a program says of itself."""
    done = subprocess.run([program(name), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "of unknown version"


@contextlib.contextmanager
def node(folder: Path) -> Iterator[Store]:
    """Run the node's receiver: files and rows, and nothing else in its process."""
    port = _free_port()
    settings = {
        "node": {"ae_title": "MCADS", "host": "127.0.0.1", "port": port, "data_dir": str(folder / "data")},
        "requestors": [{"ae_title": CALLING, "address": "127.0.0.1"}],
        "destinations": {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}},
        "analysis": {"model": "mcads-demo", "allow_demonstration_models": True},
    }
    write_yaml(folder / "node.yaml", settings)
    write_yaml(
        folder / "routes.yaml", {"routes": [{"name": "all", "when": {}, "analyse": {}, "send_to": ["pacs"]}]}
    )
    command = [sys.executable, "-m", "mcads_node", "serve", "--role", "receive"]
    with _running(folder, port, *command, "--config", str(folder / "node.yaml")) as process:
        yield Store(ae_title="MCADS", port=port, process=process)


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[Store]:
    """Run Orthanc as Debian ships it: an index in SQLite, files forced to the device, no plugins."""
    port, http_port = _free_port(), _free_port()
    configuration = {
        "Name": "bench",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
    with _running(folder, port, program("Orthanc"), str(folder / "orthanc.json")) as process:
        yield Store(ae_title="ORTHANC", port=port, process=process)


@contextlib.contextmanager
def storescp(folder: Path) -> Iterator[Store]:
    """Run DCMTK's storescp, a process an association; it forces nothing to the device and keeps no index."""
    port = _free_port()
    (folder / "received").mkdir()
    with _running(
        folder, port, program("storescp"), "--fork", "-od", str(folder / "received"), str(port)
    ) as process:
        yield Store(ae_title="STORESCP", port=port, process=process)


NODE = Maker(name="MCADS node", version=lambda: version("mcads-node"), start=node)
ORTHANC = Maker(name="Orthanc", version=lambda: version_of("Orthanc"), start=orthanc)
STORESCP = Maker(name="DCMTK storescp --fork", version=lambda: version_of("storescp"), start=storescp)


def send(store: Store, files: Sequence[Path], associations: int) -> float:
    """Send files with DCMTK's storescu over so many associations at once; gives the seconds.

    Raises
    ------
    Unavailable
        storescu is not installed, or was not answered with a success for every file.
    """
    command = [program("storescu"), "-aet", CALLING, "-aec", store.ae_title, "127.0.0.1", str(store.port)]
    shares = [list(map(str, files[number::associations])) for number in range(associations)]
    begun = time.perf_counter()
    senders = [subprocess.Popen([*command, *share], env=ENVIRONMENT) for share in shares]
    try:
        codes = [sender.wait(timeout=600) for sender in senders]
    finally:
        for sender in senders:
            sender.kill()
    seconds = time.perf_counter() - begun
    if any(codes):
        raise Unavailable(f"storescu to {store.ae_title} ended with {codes}")
    return seconds


def cpu_seconds(store: Store) -> float:
    """Processor time that a store has taken, with that of the children it has waited for (Linux)."""
    said = Path(f"/proc/{store.process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    # utime, stime, cutime, cstime
    return sum(map(int, said[11:15])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(folder: Path, port: int, *command: str) -> Iterator[int]:
    log = folder / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=said, stderr=said, start_new_session=True
        )
    try:
        _wait_for(port, process, log)
        yield process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        # with all that it has forked
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise Unavailable(f"{process.args!r} does not listen: {log.read_text(errors='replace')[-500:]}")
