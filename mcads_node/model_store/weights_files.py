"""Files of weights: digests, durable writing, one fetch at a time, conversion in a process of its own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mcads_node.errors import ModelUnusable, TransientError

#: seconds; importing torch takes a few, a conversion up to ten, on a machine with much else to do a minute
_CONVERSION_TIMEOUT = 300.0


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex; raises ModelUnusable where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelUnusable(f"{path}: cannot be read: {error.strerror}") from error


def convert(source: Path, target: Path, architecture: str, outputs: int) -> None:
    """Convert official weights to safetensors in a process of its own (`convert_weights`).

    The process has an isolated interpreter, an almost empty environment and limits of its own making.

    Parameters
    ----------
    source
        File written by ``torch.save``.
    target
        Where the safetensors go; the process runs in its folder.
    architecture
        The network's, as the manifest names it.
    outputs
        Number of the network's outputs.

    Raises
    ------
    ModelUnusable
        The file was refused, with the reason, or the process did not end well.
    """
    command = [sys.executable, "-I", "-m", "mcads_node.model_store.convert_weights"]
    command += [str(source.resolve()), str(target.resolve()), architecture, str(outputs)]
    isolated = {"PATH": os.defpath, "HOME": str(target.parent), "LANG": "C.UTF-8"}
    run_conversion(command, source.name, env=isolated, cwd=target.parent)


def run_conversion(
    command: Sequence[str], what: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a conversion that tells in its last line what failed.

    Parameters
    ----------
    command
        A module of our own, with paths of our own.
    what
        Is converted; stands before the reason.
    env, cwd
        Of the process; this one's by default.

    Raises
    ------
    ModelUnusable
        It did not end well, or not in time.
    """
    try:
        done = subprocess.run(  # noqa: S603 - as said above
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_CONVERSION_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelUnusable(f"{what}: the conversion did not end in time") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"the conversion ended with code {done.returncode}"
        raise ModelUnusable(f"{what}: {reason}")


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Hold `folder` against a second fetch."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".fetch").open("w")
    except OSError as error:
        raise TransientError(f"{folder}: cannot be written: {error.strerror}") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TransientError(f"{folder}: another process is fetching these weights just now") from error
        yield folder


def write_durably(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a crash leaves the old one or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
