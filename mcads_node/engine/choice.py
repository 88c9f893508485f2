"""Which engine computes: what is asked for, what is installed, and what agrees with torch."""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from mcads_node import __version__
from mcads_node.engine.base import Engine, EngineSettings
from mcads_node.engine.conversions import Converted, key_of, read_converted, records_of
from mcads_node.errors import ModelUnusable, NodeError, TransientError
from mcads_node.model_store.manifest import Manifest
from mcads_node.model_store.store import ModelStore, VerifiedWeights
from mcads_node.model_store.weights_files import run_conversion

log = structlog.stdlib.get_logger(__name__)

#: files of which one is there where a driver for CUDA is: torch is asked only then
_CUDA_DEVICES: Final = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")
_TORCH_ON_CUDA: Final = "torch, on a GPU in float16 where its scores are those of float32"


def open_engine(
    store: ModelStore, manifest: Manifest, weights: VerifiedWeights, settings: EngineSettings
) -> Engine:
    """Open the engine that is asked for.

    Parameters
    ----------
    store
        Where the model is; a conversion is kept beside its weights.
    manifest, weights
        Of the model.
    settings
        ``auto`` falls back to torch, and says why in the log; ``openvino`` is it in float32, or an error.
        A lower precision than float32 is taken where it is welcome and agrees.

    Raises
    ------
    ModelUnusable
        The engine cannot be had, with what to do.
    """
    if settings.name == "torch" or (settings.name == "auto" and not _suits(settings)):
        return _torch(manifest, weights, settings)
    try:
        return _openvino(store, manifest, weights, settings)
    except NodeError as error:
        if settings.name == "openvino":
            raise ModelUnusable(f"analysis.engine: {error}") from error
        log.warning("engine.refused", model=manifest.name, engine="openvino", reason=str(error))
        return _torch(manifest, weights, settings)


def foreseen(store: ModelStore, name: str, wanted: EngineSettings) -> str:
    """Say in words which engine will compute a model, as far as files tell; nothing is loaded."""
    if wanted.name == "torch" or (wanted.name == "auto" and not _suits(wanted)):
        return "torch" if wanted.precision == "float32" or not _has_cuda() else _TORCH_ON_CUDA
    if not _installed():
        return "OpenVINO, which is not installed: pip install 'mcads-node[openvino]'"
    found = records_of(_folder(store, name), store.verify(name))
    if not found:
        return "OpenVINO, converted at the first start"
    return "; ".join(f"OpenVINO {each.openvino} ({each.in_words()})" for each in found)


def is_converted(store: ModelStore, name: str) -> bool:
    """Whether a converted network of the model's present weights is here, of whatever version of OpenVINO."""
    return _installed() and bool(records_of(_folder(store, name), store.verify(name)))


def _suits(settings: EngineSettings) -> bool:
    """Whether OpenVINO is the better choice: it is installed, and there is no CUDA device."""
    on_cpu = settings.device == "cpu" or not _has_cuda()
    return on_cpu and settings.device in ("auto", "cpu") and _installed()


def _has_cuda() -> bool:
    # empty where the machine's GPUs are not for this process
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    return not hidden and any(Path(each).exists() for each in _CUDA_DEVICES)


def _installed() -> bool:
    return importlib.util.find_spec("openvino") is not None


def _folder(store: ModelStore, name: str) -> Path:
    return store.made_of_weights(name) / "openvino"


def _torch(manifest: Manifest, weights: VerifiedWeights, settings: EngineSettings) -> Engine:
    # only now: it takes seconds, and two fifths of a worker's memory
    opened: Engine = importlib.import_module("mcads_node.engine.torch_engine").open_torch(
        manifest, weights, settings
    )
    return opened


def _openvino(
    store: ModelStore, manifest: Manifest, weights: VerifiedWeights, settings: EngineSettings
) -> Engine:
    if settings.device not in ("auto", "cpu"):
        raise ModelUnusable(f"OpenVINO computes on the CPU, and device {settings.device} is wanted")
    if not _installed():
        raise ModelUnusable("OpenVINO is not installed: pip install 'mcads-node[openvino]'")
    home = importlib.import_module("mcads_node.engine.openvino_engine")
    converted = _converted(store, manifest, weights, (home.version(), home.processor()))
    record = converted.record
    exact = record.of("f32")
    if exact is None or not exact.accepted:
        raise ModelUnusable(f"OpenVINO does not agree with torch here ({record.in_words()})")
    lower_is_welcome = settings.name == "auto" and settings.precision == "auto"
    precision = record.precision if lower_is_welcome else exact.precision
    try:
        compiled = home.compile_network(
            converted.graph, converted.constants, manifest.input.size, precision, settings.threads
        )
    except RuntimeError as error:
        raise ModelUnusable(f"OpenVINO cannot compile the model: {error}") from error

    def network() -> object:
        torch = importlib.import_module("torch")
        loaded: object = importlib.import_module("mcads_node.engine.torch_engine").load_network(
            manifest, store.read(manifest.name), torch.device("cpu"), settings.threads
        )
        return loaded

    opened: Engine = home.OpenVinoEngine(manifest.name, compiled, precision, network)
    return opened


def _converted(
    store: ModelStore, manifest: Manifest, weights: VerifiedWeights, made_by: tuple[str, str]
) -> Converted:
    """Give the converted network: the one that is kept, else a new one."""
    parts = (weights.digest, str(manifest.version), manifest.architecture, __version__, *made_by)
    folder = _folder(store, manifest.name) / key_of(*parts)
    found = read_converted(folder)
    if found is not None:
        return found
    with _alone(folder):
        # another worker may have made it while this one waited
        found = read_converted(folder)
        if found is None:
            log.info("engine.converting", model=manifest.name, engine="openvino", folder=str(folder))
            _convert(store, manifest.name, folder)
            found = read_converted(folder)
    if found is None:
        raise TransientError(f"{folder}: the converted network cannot be read again")
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold `folder` while a network is converted into it; others wait, since they need the same."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".converting").open("w")
    except OSError as error:
        raise TransientError(f"{folder}: cannot be written: {error.strerror}") from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _convert(store: ModelStore, name: str, folder: Path) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "mcads_node.engine.convert",
        *map(str, store.folders),
        name,
        str(folder),
    ]
    run_conversion(command, f"{name} for OpenVINO")
