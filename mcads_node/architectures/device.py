"""Where a network computes."""

from __future__ import annotations

import torch

from mcads_node.errors import ModelUnusable


def device_named(wanted: str) -> torch.device:
    """Give the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` names; ModelUnusable: there is none.

    In this process float32 is float32 from now on, on a GPU too.
    """
    # torch's default there is TF32, whose convolutions keep 10 bits of an activation, no more than float16
    torch.backends.cudnn.allow_tf32 = False
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ModelUnusable(f"device: expected auto, cpu, cuda or cuda:N, found {wanted!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise ModelUnusable(f"device: expected auto, cpu, cuda or cuda:N, found {wanted!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelUnusable(
            f"device: {wanted} is wanted, and there are {torch.cuda.device_count()} CUDA devices here"
        )
    return device
