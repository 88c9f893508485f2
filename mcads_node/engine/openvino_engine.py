"""OpenVINO on the CPU: a converted network, without torch in the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
from numpy.typing import NDArray

from mcads_node.errors import ModelUnusable

if TYPE_CHECKING:
    from mcads_node.architectures import Network


class OpenVinoEngine:
    """An `Engine` of OpenVINO.

    Parameters
    ----------
    model
        Its name, for errors.
    compiled
        As `compile_network` gives it: one image a run.
    precision
        In which it was compiled.
    network
        Loads the network in torch, for explanations that need gradients.
    """

    def __init__(
        self, model: str, compiled: openvino.CompiledModel, precision: str, network: Callable[[], Network]
    ) -> None:
        self.precision = precision
        self._model = model
        self._request = compiled.create_infer_request()
        self._load_network = network
        self._network: Network | None = None

    @property
    def described(self) -> str:
        """Version and precision."""
        return f"OpenVINO {version()}, {self.precision}"

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network, an image at a time: a batch of one is then a batch of many, bit by bit."""
        try:
            each = [self._run(batch[place : place + 1]) for place in range(len(batch))]
        except RuntimeError as error:
            raise ModelUnusable(f"model {self._model}: OpenVINO failed: {error}") from error
        feature_maps, logits = zip(*each, strict=True)
        return np.concatenate(feature_maps), np.concatenate(logits)

    def _run(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        given = self._request.infer([np.ascontiguousarray(image)])
        # what is given is overwritten by the next run
        return given[0].copy(), given[1].copy()

    def network(self) -> Network:
        """Load the network in torch, at the first call."""
        if self._network is None:
            self._network = self._load_network()
        return self._network


def compile_network(
    graph: bytes, constants: bytes, size: int, precision: str, threads: int | None
) -> openvino.CompiledModel:
    """Compile a converted network for one image of `size` × `size` at a time.

    Raises
    ------
    RuntimeError
        OpenVINO cannot read or compile it.
    """
    core = openvino.Core()
    model = core.read_model(graph, constants)
    model.reshape([1, 1, size, size])
    wanted: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # workers would all be pinned to the same processor
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
    }
    if threads is not None:
        wanted["INFERENCE_NUM_THREADS"] = threads
    return core.compile_model(model, "CPU", wanted)


def version() -> str:
    """Version of OpenVINO."""
    return str(openvino.__version__).split("-", maxsplit=1)[0]


def processor() -> str:
    """Name the processor and what it can, as OpenVINO sees it: it chooses its code by that."""
    core = openvino.Core()
    can = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return f"{core.get_property('CPU', 'FULL_DEVICE_NAME')} ({', '.join(can)})"
