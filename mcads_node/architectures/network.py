"""What every architecture gives: one feature map, then global average pooling and a linear head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network in the three parts that classifying and explaining use."""

    #: holds every tensor, by the names that the weights file gives them
    module: nn.Module
    #: N × 1 × S × S → N × K × h × w, after the last activation: what is explained
    features: nn.Module
    #: N × K, the feature map's means → N × outputs, before the sigmoid
    head: nn.Module
