"""What every architecture gives: one feature map, then global average pooling and a linear head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network in the three parts that classifying and explaining use."""

    #: holds every tensor, by the names that the weights file gives them
    module: nn.Module
    #: N × 1 × S × S → N × K × h × w, after the last activation: what is explained
    features: nn.Module
    #: N × K, the feature map's means → N × outputs, before the sigmoid
    head: nn.Module

    def logits(self, batch: Tensor) -> Tensor:
        """Give the logits (N × outputs) of a batch, with a graph back to it where it asks for one."""
        logits: Tensor = self.head(self.features(batch).mean(dim=(2, 3)))
        return logits
