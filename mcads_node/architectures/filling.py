"""Weights into a network."""

from __future__ import annotations

from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from mcads_node.errors import ModelUnusable


def fill(module: nn.Module, weights: bytes, model: str, architecture: str) -> None:
    """Give a network the weights of a model, and make it ready to compute; weights have no gradients.

    Parameters
    ----------
    module
        As it was built; changed.
    weights
        A safetensors file.
    model, architecture
        Names that an error tells.

    Raises
    ------
    ModelUnusable
        They are another network's, or no safetensors.
    """
    try:
        # no state of num_batches_tracked: a plain dictionary has no version, so torch fills it in;
        # tensors stored as float16 become float32 on being copied
        module.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError) as error:
        raise ModelUnusable(
            f"model {model}: its weights do not fit the architecture {architecture}: {error}"
        ) from error
    module.requires_grad_(False).eval()
