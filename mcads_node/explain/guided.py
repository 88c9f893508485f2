"""Guided backpropagation (Springenberg et al., Striving for Simplicity, ICLR 2015 workshop, section 3.4).

At each rectifier on its way back, a gradient passes where the rectifier let the signal through *and* the
gradient itself is positive: what speaks against a finding is cut off at once, not only at the end.

The rectifiers are met as torch's functions while they are called, by a mode that holds for one thread and one
``with`` block. No module of the network is hooked, exchanged or copied, so that nothing can be left behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class GuidedBackpropagation(TorchFunctionMode):
    """Makes every ReLU and ReLU6 that is called within it a guided one; what it computes forward is the same.

    As a context manager; the network's backward pass may be made afterwards. In-place rectifiers are computed
    out of place.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute `func`; torch calls this in place of every function of its own."""
        kwargs = dict(kwargs or {})
        if func in _RECTIFIERS:
            return _RECTIFIERS[func](*args, **kwargs)
        return func(*args, **kwargs)


class _GuidedRectifier(torch.autograd.Function):
    """``min(max(x, 0), limit)``, whose derivative is that of guided backpropagation."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, limit: float) -> Tensor:
        rectified = signal.relu() if math.isinf(limit) else signal.clamp(0, limit)
        # what follows keeps it anyway: of the signal itself nothing is kept
        ctx.save_for_backward(rectified)
        ctx.limit = limit
        return rectified

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (rectified,) = ctx.saved_tensors
        spoken_for = gradients[0].relu()
        if not math.isinf(ctx.limit):
            spoken_for = spoken_for.masked_fill_(rectified >= ctx.limit, 0.0)
        # one pass over memory, which is what these take: where the signal was let through
        return torch.ops.aten.threshold_backward(spoken_for, rectified, 0.0), None


def _relu(signal: Tensor, **_inplace: Any) -> Tensor:
    return _rectified(signal, math.inf)


def _relu6(signal: Tensor, **_inplace: Any) -> Tensor:
    return _rectified(signal, 6.0)


def _hardtanh(signal: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """ReLU6 as its module calls it; any other is no rectifier."""
    if min_val == 0:
        return _rectified(signal, max_val)
    return functional.hardtanh(signal, min_val, max_val, inplace)


def _rectified(signal: Tensor, limit: float) -> Tensor:
    result: Tensor = _GuidedRectifier.apply(signal, limit)
    return result


_RECTIFIERS: Final[Mapping[Callable[..., Any], Callable[..., Tensor]]] = {
    functional.relu: _relu,
    functional.relu_: _relu,
    torch.relu: _relu,
    torch.relu_: _relu,
    Tensor.relu: _relu,
    Tensor.relu_: _relu,
    functional.relu6: _relu6,
    functional.hardtanh: _hardtanh,
}
