"""A Ray cluster on loopback: a head without processors, and one machine with them, each a process group."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers import free_port, wait_for_port
from tests.programs import require_module

#: no more than is needed; and nothing of it is to be seen or told anywhere
_QUIET = (
    "--block",
    "--disable-usage-stats",
    "--node-ip-address=127.0.0.1",
    "--object-store-memory=100000000",
)


@dataclass
class RayCluster:
    """The head, the machine, and what may befall them."""

    folder: Path
    port: int = field(default_factory=free_port)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, processors: int) -> None:
        """Start the head, and then the machine."""
        head = ("--head", f"--port={self.port}", f"--temp-dir={self.folder}", "--include-dashboard=false")
        self._run(*head, "--num-cpus=0")
        wait_for_port(self.port, self._started[0])
        # Ray shares out a GPU that it is told of, whether there is one or not
        self._run(f"--address={self.address}", f"--num-cpus={processors}", "--num-gpus=1")

    def actors(self) -> list[int]:
        """Processes of the node's actors."""
        found = []
        sessions = {each.pid for each in self._started}
        for each in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                # Ray names its processes after what they do; others may run a cluster beside us
                if (each / "cmdline").read_bytes().startswith(b"ray::Reader") and os.getsid(
                    int(each.name)
                ) in sessions:
                    found.append(int(each.name))
        return sorted(found)

    def kill(self) -> None:
        """End all of it at once, as a loss of power would."""
        for each in self._started:
            with suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.wait(30)
        self._started.clear()

    def _run(self, *arguments: str) -> None:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("ray"), "start", *_QUIET, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)


@contextmanager
def ray_cluster(processors: int) -> Iterator[RayCluster]:
    """Run a cluster; without Ray, skip the test at home and fail it in CI."""
    require_module("ray")
    # not in pytest's folder: the name of a socket in it would be too long
    cluster = RayCluster(Path(tempfile.mkdtemp(prefix="ray-")))
    try:
        cluster.start(processors)
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(cluster.folder, ignore_errors=True)
