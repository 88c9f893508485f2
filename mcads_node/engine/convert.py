"""Convert a model for OpenVINO and compare it with torch; run in a process of its own, since it needs both.

::

    python -m mcads_node.engine.convert MODELS_DIR WEIGHTS_DIR MODEL FOLDER

writes into FOLDER (`conversions`).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from mcads_node.architectures import Network
from mcads_node.engine.acceptance import compare
from mcads_node.engine.base import Engine, EngineSettings
from mcads_node.engine.conversions import Comparison, write_converted
from mcads_node.engine.openvino_engine import OpenVinoEngine, compile_network, processor, version
from mcads_node.engine.samples import sample_inputs, scores_by
from mcads_node.engine.torch_engine import open_torch
from mcads_node.errors import NodeError
from mcads_node.model_store.manifest import Manifest
from mcads_node.model_store.store import ModelStore


def convert(store: ModelStore, name: str, folder: Path) -> None:
    """Convert model `name`, compare it with torch in each precision that the processor has, write it down.

    Raises
    ------
    NodeError
        The model cannot be used.
    OSError
        It cannot be written.
    """
    manifest, weights = store.manifest(name), store.read(name)
    reference = open_torch(manifest, weights, EngineSettings(device="cpu", threads=1))
    graph, constants = traced(reference.network(), manifest.input.size)
    comparisons = list(_compared(manifest, reference, graph, constants))
    write_converted(folder, graph, constants, (weights.digest, version(), processor()), comparisons)


def traced(network: Network, size: int) -> tuple[bytes, bytes]:
    """Give a network in OpenVINO's intermediate representation: image → feature map, logits."""
    front_end = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad():
        program = torch.jit.trace(_Whole(network).eval(), torch.zeros(1, 1, size, size), check_trace=False)  # type: ignore[no-untyped-call]
    # frozen, its weights are constants: the front end is then done in a second, and otherwise in twenty
    # the front end keeps no hold of it
    decoder = TorchScriptPythonDecoder(torch.jit.freeze(program))
    model = front_end.convert(front_end.load(decoder))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "network.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


class _Whole(nn.Module):
    """A network as one module."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.features, self.head = network.features, network.head

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Give feature map and logits."""
        feature_map = self.features(batch)
        return feature_map, self.head(feature_map.mean(dim=(2, 3)))


def _compared(manifest: Manifest, reference: Engine, graph: bytes, constants: bytes) -> Iterator[Comparison]:
    inputs = sample_inputs(manifest)
    expected = scores_by(reference, manifest, inputs)
    lower = ["bf16"] if "BF16" in processor() else []
    for precision in ("f32", *lower):
        compiled = compile_network(graph, constants, manifest.input.size, precision, threads=1)
        engine = OpenVinoEngine(manifest.name, compiled, precision, reference.network)
        found = scores_by(engine, manifest, inputs)
        yield compare(manifest, precision, expected, found)


def _main() -> None:
    models_dir, weights_dir, name, folder = sys.argv[1:]
    try:
        convert(ModelStore(Path(models_dir), Path(weights_dir)), name, Path(folder))
    except (NodeError, OSError, RuntimeError) as error:
        # the last line is what the parent tells
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    _main()
