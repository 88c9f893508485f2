"""What every engine is, and how one is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mcads_node.architectures import Network

#: words of ``analysis.engine``; ``auto``: OpenVINO where it is installed and agrees with torch, else torch
EngineName = Literal["auto", "torch", "openvino"]
#: words of ``analysis.precision``; ``auto``: a lower one than float32 where its scores are float32's
PrecisionName = Literal["auto", "float32"]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Which engine is wanted, and with how much of the machine."""

    name: EngineName = "torch"
    #: of torch: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``; OpenVINO is on the CPU
    device: str = "auto"
    #: of ``auto`` and torch; ``openvino`` is in float32
    precision: PrecisionName = "float32"
    #: of one run on the CPU; None: the engine's own choice
    threads: int | None = None


class Engine(Protocol):
    """A network, loaded and ready."""

    @property
    def described(self) -> str:
        """What it is, in words for logs and tables: library, version, precision."""

    @property
    def precision(self) -> str:
        """``f32``; or a lower one, whose scores differ from it visibly, though less than a thousandth."""

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network once.

        Parameters
        ----------
        batch
            float32, N × 1 × S × S.

        Returns
        -------
        feature_map : ndarray of float32, N × K × h × w
            After its last activation: what the head reads.
        logits : ndarray of float32, N × outputs

        Raises
        ------
        ModelUnusable
            The device failed, or has not enough memory.
        """

    def network(self) -> Network:
        """Give the network in torch, for gradients; loaded at the first call where another engine computes.

        Raises
        ------
        ModelUnusable
            It cannot be loaded.
        """
