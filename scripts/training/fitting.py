"""Fine-tuning on few images and few processors.

The first layers, which take most of the time and know edges and textures, keep what ImageNet taught them. So
each augmented view of an image passes through them once, and only the rest is trained. What else helps where
images are few: learning view, sex, age and "nothing found" beside the findings, mixing images (Zhang et al.,
mixup, ICLR 2018), dropout before the head, and keeping a moving average of the weights.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mcads_node.architectures.efficientnet_lite0 import EfficientNetLite0
from training.collection import HIGH, LOW

#: layers of `EfficientNetLite0.features` that are not trained: the stem and the first five blocks
FROZEN = 6
#: augmented views of each image
VIEWS = 8
BATCH = 32
#: of the features and of the head; both fall to nothing along a cosine
RATE, HEAD_RATE, WARM_UP = 5e-4, 2e-3, 40
WEIGHT_DECAY = 0.05
DROPOUT = 0.4
#: parameter of the Beta distribution that shares are drawn from
MIXUP = 0.3
#: of the moving average of weights, for a step
AVERAGE = 0.99
#: of BatchNorm, in training: the data is far from ImageNet's, and there are few steps
MOMENTUM = 0.05

Tick = Callable[[], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """What is learnt from."""

    #: float32, N × 1 × S × S
    inputs: Tensor
    #: float32, N × targets, 0…1: the labels, then what is learnt beside them
    targets: Tensor


def adapt(network: EfficientNetLite0, inputs: Tensor) -> None:
    """Set the BatchNorms of the frozen layers to the mean and the variance that radiographs have there."""
    norms = [layer for layer in network.features[:FROZEN].modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    network.train()
    with torch.no_grad():
        for batch in inputs.split(BATCH):
            network.features[:FROZEN](_channels_last(batch))
    network.eval()


def views(network: EfficientNetLite0, inputs: Tensor, count: int, tick: Tick) -> Tensor:
    """Pass `count` augmented views of each image through the frozen layers: float16, views × N × …."""
    generator = torch.Generator().manual_seed(1)
    network.eval()
    made = []
    with torch.no_grad():
        for _ in range(count):
            for batch in inputs.split(BATCH):
                changed = _channels_last(augment(batch, generator))
                made.append(network.features[:FROZEN](changed).half())
                tick()
    return torch.cat(made).unflatten(0, (count, len(inputs)))


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, enlarge, move and mirror images, and change their gamma, contrast and brightness."""

    def between(low: float, high: float) -> Tensor:
        return torch.rand(len(batch), generator=generator) * (high - low) + low

    angle, scale = between(-10, 10) * math.pi / 180, between(0.85, 1.1)
    across, down = between(-0.06, 0.06), between(-0.06, 0.06)
    mirror = between(-1, 1).sign()
    rows = [
        torch.stack([scale * angle.cos() * mirror, -scale * angle.sin(), across], dim=1),
        torch.stack([scale * angle.sin() * mirror, scale * angle.cos(), down], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(batch.shape), align_corners=False)
    # zero is what lies outside: black
    moved = functional.grid_sample((batch - LOW) / (HIGH - LOW), grid, align_corners=False)
    gamma, contrast, brightness = between(-0.3, 0.3).exp(), between(0.8, 1.15), between(-0.08, 0.08)
    shown = moved.clamp(1e-4, 1) ** gamma[:, None, None, None]
    shown = (shown - 0.5) * contrast[:, None, None, None] + 0.5 + brightness[:, None, None, None]
    return shown.clamp(0, 1) * (HIGH - LOW) + LOW


def fine_tune(network: EfficientNetLite0, examples: Examples, epochs: int, tick: Tick) -> None:
    """Train all but the frozen layers; leaves the moving average of the weights in `network`.

    The head must have an output for each target.
    """
    adapt(network, examples.inputs)
    with torch.no_grad():
        # begin at how frequent each target is
        network.head.bias.copy_(torch.logit(examples.targets.mean(dim=0).clamp(0.01, 0.99)))
    if epochs:
        _train(network, views(network, examples.inputs, VIEWS, tick), examples.targets, epochs, tick)
    network.eval()


def ticks(images: int, epochs: int) -> int:
    """How often `fine_tune` tells that it goes on."""
    return math.ceil(images / BATCH) * ((VIEWS if epochs else 0) + epochs)


def _train(network: EfficientNetLite0, seen: Tensor, targets: Tensor, epochs: int, tick: Tick) -> None:
    tail = nn.ModuleDict({"features": network.features[FROZEN:], "head": network.head})
    for layer in tail.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = MOMENTUM
    optimizer, steps = _optimizer(tail), epochs * math.ceil(len(targets) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    average = {name: value.clone() for name, value in tail.state_dict().items()}
    tail.train()
    for step, (features, wanted) in enumerate(_batches(seen, targets, epochs), start=1):
        pooled = tail["features"](features).mean(dim=(2, 3))
        logits = tail["head"](functional.dropout(pooled, DROPOUT))
        each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        optimizer.zero_grad()
        each.sum(dim=1).mean().backward()
        optimizer.step()
        schedule.step()
        _follow(average, tail, min(AVERAGE, (1 + step) / (10 + step)))
        tick()
    tail.load_state_dict(average)


def _optimizer(tail: nn.ModuleDict) -> torch.optim.Optimizer:
    trained = list(tail["features"].parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.dim() > 1], "lr": RATE, "weight_decay": WEIGHT_DECAY},
            # BatchNorm's own numbers are not pulled to zero
            {"params": [p for p in trained if p.dim() == 1], "lr": RATE, "weight_decay": 0.0},
            {"params": tail["head"].parameters(), "lr": HEAD_RATE, "weight_decay": WEIGHT_DECAY},
        ]
    )


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2


def _batches(seen: Tensor, targets: Tensor, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Mixed batches of any view of each image, in another order each time."""
    shares = torch.distributions.Beta(MIXUP, MIXUP)
    for _ in range(epochs):
        for places in torch.randperm(len(targets)).split(BATCH):
            features = seen[torch.randint(len(seen), places.shape), places].float()
            share, other = shares.sample(), torch.randperm(len(places))
            yield (
                _channels_last(share * features + (1 - share) * features[other]),
                share * targets[places] + (1 - share) * targets[places[other]],
            )


def _follow(average: dict[str, Tensor], module: nn.Module, kept: float) -> None:
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - kept)


def _channels_last(batch: Tensor) -> Tensor:
    return batch.contiguous(memory_format=torch.channels_last)
