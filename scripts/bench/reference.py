"""How others do it, plainly: torchxrayvision's own reading, and guided backpropagation in a loop."""

import io
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import torch
import torchxrayvision as xrv
from safetensors.torch import load
from torch import nn

from mcads_node import phantom
from mcads_node.allocator import keep_what_is_freed
from mcads_node.blas import use_one_thread
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.instance import ModelGeometry
from mcads_node.logs import configure_logs
from mcads_node.resample import geometry_for, model_input
from tests.model_samples import SEEDED, seeded_store

Picture = np.ndarray[tuple[int, int], np.dtype[np.float32]]

#: seconds; OpenMP's threads give up sooner
_PAUSE = 0.3


class Models:
    """The same seeded weights in densenet121-res224-all's network: ours, and torchxrayvision's."""

    def __init__(self, folder: Path, threads: int) -> None:
        # to standard error: what is measured is told on the other
        configure_logs()
        # as every worker does; the other side has it too
        keep_what_is_freed()
        use_one_thread()
        self.store = seeded_store(folder)
        self.threads = threads
        torch.set_num_threads(threads)
        manifest = self.store.manifest(SEEDED)
        points = torch.tensor(manifest.operating_points)
        self.theirs = xrv.models.DenseNet(num_classes=len(manifest.outputs), op_threshs=points)
        self.theirs.load_state_dict(load(self.store.read(SEEDED).data), strict=False)
        self.theirs.eval()

    def ours(self, engine: Any) -> Classifier:
        return load_classifier(self.store, SEEDED, device="cpu", threads=self.threads, engine=engine)


def full_size() -> bytes:
    """A 2500 × 2048 DX of 16 bits stored: 10 MB."""
    return phantom.save(phantom.radiograph(bits=16))


def square_of(data: bytes) -> Picture:
    """The phantom as a model sees it."""
    words = pydicom.dcmread(io.BytesIO(data)).pixel_array
    pixels = words.astype(np.float32) / np.float32(65535) * 2048 - 1024
    return model_input(pixels, geometry_for(*pixels.shape, 224))


def square(size: int = 224) -> ModelGeometry:
    return ModelGeometry(rows=size, columns=size, top=0, left=0, side=size, size=size)


def read_their_way(data: bytes, network: nn.Module) -> Picture:
    """Read, normalise, crop, resize and classify as torchxrayvision's documentation does."""
    pixels = pydicom.dcmread(io.BytesIO(data)).pixel_array
    image = xrv.datasets.normalize(pixels, 65535)[None]
    image = xrv.datasets.XRayCenterCrop()(image)
    image = xrv.datasets.XRayResizer(224, engine="skimage")(image)
    with torch.no_grad():
        scores: Picture = network(torch.from_numpy(image[None].astype(np.float32)))[0].numpy()
    return scores


class Guided:
    """Guided backpropagation by a hook on every rectifier, one image and one backward pass at a time."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        # its last rectifier is a function, which cannot have a hook
        self._last = nn.ReLU()
        for module in (*network.modules(), self._last):
            if isinstance(module, nn.ReLU):
                module.inplace = False
                module.register_full_backward_hook(lambda _module, given, _taken: (given[0].clamp(min=0),))

    def map(self, copies: np.ndarray, column: int, percentile: float) -> Picture:
        total = np.zeros(copies.shape[1:])
        for copy in copies:
            image = torch.from_numpy(copy[None, None]).requires_grad_()
            features = self._last(self._network.features(image))
            self._network.classifier(features.mean(dim=(2, 3)))[0, column].backward()
            total += image.grad[0, 0].double().numpy()
        magnitude = np.abs(total / len(copies))
        return np.asarray((magnitude / np.percentile(magnitude, percentile)).clip(0, 1), dtype=np.float32)


def rounds(works: Sequence[Callable[[], object]], count: int) -> list[list[float]]:
    """Seconds of each of some works, one after the other in every round, so that noise meets all of them.

    Between two of them nothing is done for a moment: the threads that torch leaves behind look for work in a
    busy loop, and would take the processors from whoever comes next.
    """
    for work in works:
        work()
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(count):
        for work, told in zip(works, seconds, strict=True):
            time.sleep(_PAUSE)
            begun = time.perf_counter()
            work()
            told.append(time.perf_counter() - begun)
    return seconds


def speedup(theirs: list[float], ours: list[float]) -> dict[str, Any]:
    """Ratio of the medians, with the range of the rounds' own ratios."""
    each = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
    ratio = statistics.median(theirs) / statistics.median(ours)
    return {"value": ratio, "low": min(each), "high": max(each), "runs": len(each)}
