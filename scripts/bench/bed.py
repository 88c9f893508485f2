"""A real node on loopback, DCMTK's storescp as the PACS that it returns its results to, and what both tell.

The work is that of the goals: a phantom of 2500 × 2048 with 16 bits allocated, 10 MB, each image a study of
its own; SR, summary page and one heatmap are returned; the quiet time is 0; torchxrayvision's DenseNet-121
reads (`copied`).
"""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from copied import MODEL, copy_node
from images import Images

from mcads_node.blas import use_one_thread
from mcads_node.classifier import load_classifier
from mcads_node.deliver.send import Answer, DestinationAddress, Outgoing, send
from mcads_node.infer import infer
from mcads_node.model_store.store import ModelStore
from mcads_node.read.radiograph import read_dataset, read_radiograph
from mcads_node.resample import geometry_for, model_input
from mcads_node.verbs.demo import CALLER, NODE, running_node
from mcads_node.yamlfile import write_yaml

PACS = "BENCH_PACS"
#: of one radiograph: SR, summary page, one heatmap
OBJECTS = 3
#: the one label that is present
LABEL = "Mass"
#: of every wait; the machine may have much else to do
PATIENCE = 300.0
#: a file that nobody wrote to for so long is whole
_WHOLE_AFTER = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")
#: DCMTK otherwise waits for acknowledgements
_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@dataclass(frozen=True, kw_only=True)
class Bed:
    """A running node, and where its results arrive."""

    folder: Path
    models: ModelStore
    images: Images
    address: DestinationAddress
    process: subprocess.Popen[bytes]

    def one(self, file: Path) -> float:
        """Send an image to an idle node; seconds from the C-STORE's answer to its last object stored."""
        before, answered = len(self._stored()), [0.0]

        def on_answer(_outgoing: Outgoing, _answer: Answer) -> None:
            answered[0] = time.time()

        send(self.address, [Outgoing.of_file(file)], on_answer, CALLER)
        return self._wait_for(before + OBJECTS) - answered[0]

    def many(self, files: Sequence[Path]) -> float:
        """Send images as fast as the node takes them; seconds until the last object of the last is stored."""
        before, begun = len(self._stored()), time.time()
        options = ["-aet", CALLER.ae_title, "-aec", NODE, "127.0.0.1", str(self.address.port)]
        subprocess.run([program("storescu"), *options, *map(str, files)], env=_ENVIRONMENT, check=True)
        return self._wait_for(before + OBJECTS * len(files)) - begun

    def _stored(self) -> list[float]:
        """When each object that came was last written to, Unix time."""
        return [file.stat().st_mtime for file in os.scandir(self.folder / "pacs")]

    def _wait_for(self, objects: int) -> float:
        deadline = time.monotonic() + PATIENCE
        while len(stored := self._stored()) < objects or time.time() - max(stored) < _WHOLE_AFTER:
            if time.monotonic() > deadline or self.process.poll() is not None:
                log = (self.folder / "node.log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"{len(stored)} of {objects} objects came; the log of the node ends:\n{log}")
            time.sleep(0.005)
        return max(stored)

    def _pids(self) -> list[int]:
        """Process IDs: the node's main process, then its workers."""
        pid = self.process.pid
        children = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/children")]
        return [pid, *map(int, " ".join(children).split())]

    def cpu_seconds(self) -> tuple[float, float]:
        """CPU seconds so far, user and system: of the main process, and of all workers."""
        used = []
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used.append((int(fields[11]) + int(fields[12])) / _TICKS)
        return used[0], sum(used[1:])

    def peak_memory(self) -> tuple[float, float]:
        """MB that were resident at most: of the main process, which receives, and of the largest worker."""
        peaks = []
        for pid in self._pids():
            status = Path(f"/proc/{pid}/status").read_text()
            kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
            peaks.append(int(kib) * 1024 / 1e6)
        return peaks[0], max(peaks[1:])


def program(name: str) -> str:
    """Path of one of DCMTK's programs."""
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is not installed: it is in Debian's package dcmtk")
    return found


@contextlib.contextmanager
def running(count: int) -> Iterator[Bed]:
    """Run a node and a PACS with so many images to send; three others were sent before, to warm both up."""
    with tempfile.TemporaryDirectory(prefix="mcads-bench-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        (folder / "pacs").mkdir()
        port, pacs_port = _free_port(), _free_port()
        images = Images(folder / "images", count)
        images.renew()
        options = ["-aet", PACS, "+B", "+xa", "-od", str(folder / "pacs"), "-pdu", "131072"]
        pacs = subprocess.Popen([program("storescp"), *options, str(pacs_port)], env=_ENVIRONMENT)
        stack.callback(pacs.wait)
        stack.callback(pacs.kill)
        models = copy_node(folder / "node", folder / "data" / "models")
        config = _configured(folder, models, port, pacs_port)
        address = DestinationAddress(ae_title=NODE, host="127.0.0.1", port=port)
        process = stack.enter_context(running_node(config, folder / "node.log", address))
        bed = Bed(folder=folder, models=models, images=images, address=address, process=process)
        warm = Images(folder / "warm-up", 3)
        warm.renew()
        for file in warm.files:
            bed.one(file)
        yield bed


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _configured(folder: Path, models: ModelStore, port: int, pacs_port: int) -> Path:
    data_dir = folder / "data"
    write_yaml(
        folder / "node.yaml",
        {
            "node": {"ae_title": NODE, "host": "127.0.0.1", "port": port, "data_dir": str(data_dir)},
            "requestors": [{"ae_title": CALLER.ae_title, "address": "127.0.0.1"}],
            "destinations": {"pacs": {"ae_title": PACS, "host": "127.0.0.1", "port": pacs_port}},
            "analysis": {"model": MODEL},
        },
    )
    labels = models.describe(MODEL).labels
    rule = {
        "name": "bench",
        "when": {},
        "analyse": {"thresholds": {label: float(label != LABEL) for label in labels}},
        "complete_when": {"quiet_seconds": 0},
        "send_to": ["pacs"],
    }
    write_yaml(folder / "routes.yaml", {"routes": [rule]})
    return folder / "node.yaml"


def floor(bed: Bed, rounds: int = 15) -> tuple[float, float]:
    """Seconds, and CPU seconds, of decoding, preprocessing and the forward pass of one image: medians.

    In this process, with the engine of the node, on one thread, while the node is idle.
    """
    # as every worker does
    use_one_thread()
    classifier = load_classifier(bed.models, MODEL, threads=1, engine="auto")
    data = bed.images.files[0].read_bytes()
    wall, cpu = [], []
    for _ in range(rounds):
        begun, used = time.perf_counter(), time.process_time()
        radiograph = read_radiograph(read_dataset(data))
        rows, columns = radiograph.pixels.shape
        geometry = geometry_for(rows, columns, classifier.input_size)
        infer(classifier, model_input(radiograph.pixels, geometry), {}, radiograph.checks)
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
    return statistics.median(wall), statistics.median(cpu)
