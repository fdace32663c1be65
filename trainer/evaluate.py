"""How good a network is on images it did not learn from, and how far its scores can be believed."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.augment import to_input
from trainer.cache import Pixels
from trainer.errors import TrainerError
from trainer.network import head_names

T = TypeVar("T")

_BATCH, _GPU_BATCH = 64, 128
_PRIOR_SPREAD = 0.5
"""Of log temperature: on a handful of images, all of them right, the fit alone would claim certainty."""
_TEMPERATURES = 0.1, 1000.0
"""That are looked for. A softmax's lie near 1, those of a discriminant on few images between 10 and 200."""
_SURE_SHARE = 0.95
"""Share of validation images that count as inside: the other twentieth is the price of finding what lies outside."""
_FEWEST_FOR_OUTSIDE = 20
_MOST_FEATURES = 8192
"""More than the last layer of any torchvision classifier sees (RegNet's largest: 7,392)."""
_POOLED_FEATURES = 1024


@dataclass(frozen=True)
class Precision:
    """What numbers the network computes in on this device."""

    device: torch.device
    bfloat16: bool

    def autocast(self) -> torch.autocast:
        """Compute in bfloat16 where that pays, inside this context."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def logits_of(network: nn.Module, pixels: Pixels, size: int, precision: Precision, *, mirror: bool = True) -> Tensor:
    """Raw outputs for images, (N, classes), float32 on the CPU: the mean over each picture and its mirror image."""
    return outputs_of(network, pixels, size, precision, mirror=mirror)[0]


def outputs_of(
    network: nn.Module,
    pixels: Pixels,
    size: int,
    precision: Precision,
    batch_size: int | None = None,
    *,
    mirror: bool = True,
) -> tuple[Tensor, Tensor]:
    """Raw outputs, as `logits_of` gives them, and features, (N, D): what the last layer sees, averaged over its map."""
    network.eval()
    with torch.inference_mode(), precision.autocast(), features_of(network) as features:

        def answer(batch: Tensor) -> list[Tensor]:
            features.clear()  # a pass that ran out of memory may have left some
            images = to_input(batch, size).contiguous(memory_format=torch.channels_last)
            outputs = network(torch.cat([images, images.flip(3)]) if mirror else images)
            both = (t.float().view(1 + mirror, len(batch), -1).mean(0) for t in (outputs, features.pop()))
            return [_home(t) for t in both]

        found = list(in_batches(answer, pixels, precision.device, batch_size))
    if precision.device.type == "cuda":
        torch.cuda.synchronize(precision.device)
    logits, seen = zip(*found, strict=True)
    return torch.cat(logits), torch.cat(seen)


def in_batches(
    ask: Callable[[Tensor], T], pixels: Pixels, device: torch.device, batch_size: int | None = None
) -> Iterator[T]:
    """Ask about squares, (N, side, side, 3) bytes, batch by batch: a GPU gets one while it computes another.

    Where its memory is short, by halves of a batch from then on, and again: that changes no answer. Raises TrainerError
    where there is too little for a single square.
    """
    size = batch_size or (_GPU_BATCH if device.type == "cuda" else _BATCH)
    start = 0
    while start < len(pixels):
        some, found = pixels[start : start + size], None
        # What comes next, after it and not in an `except`: the error holds on to all that the pass had in memory.
        with suppress(torch.OutOfMemoryError):
            found = ask(_on_device(some, device))
        if found is not None:
            start += len(some)
            yield found
        elif len(some) == 1:
            raise TrainerError(f"{device} has too little memory for a single picture; take a smaller --size or --arch")
        else:
            size = len(some) // 2
            torch.cuda.empty_cache()


def _on_device(pixels: Pixels, device: torch.device) -> Tensor:
    """Squares, (N, side, side, 3) bytes, on a device, without waiting for them to be there."""
    batch = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.copyto(batch.numpy(), pixels)
    return batch.to(device, non_blocking=True)


def _home(tensor: Tensor) -> Tensor:
    """Send it to the CPU; from a GPU without waiting, so that it may be there only once the device is done."""
    return tensor.to("cpu", non_blocking=tensor.is_cuda)


@contextmanager
def features_of(network: nn.Module) -> Iterator[list[Tensor]]:
    """Inside this context the list gets, with every batch, the input of the last layer, (B, D)."""
    seen: list[Tensor] = []
    layer = network.get_submodule(min(head_names(network)).rpartition(".")[0])
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(pooled(given[0])))
    try:
        yield seen
    finally:
        hook.remove()


def pooled(given: Tensor) -> Tensor:
    """Average a map, (B, C, H, W), over its places, and a flattened one over neighbours, which share a channel.

    Else the features of a head `flat` would be 100,352 numbers an image for ResNet-50, and 200 MB for 500 images.
    """
    if given.ndim > 2:  # noqa: PLR2004 - rows and features
        return given.mean((2, 3))
    if given.shape[1] > _MOST_FEATURES:
        return functional.adaptive_avg_pool1d(given[:, None].float(), _POOLED_FEATURES)[:, 0]
    return given


@dataclass(frozen=True)
class Score:
    """How well outputs fit labels."""

    accuracy: float
    loss: float

    def better_than(self, other: "Score | None") -> bool:
        """Compare by accuracy, then by loss: on few images many epochs tie. A NaN is never better."""
        if not math.isfinite(self.loss):
            return False
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


def score(logits: Tensor, labels: Tensor) -> Score:
    """Accuracy, and mean cross-entropy in nats."""
    return Score(
        accuracy=(logits.argmax(1) == labels).double().mean().item(),
        loss=functional.cross_entropy(logits, labels).item(),
    )


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Find the number that outputs must be divided by to be calibrated (Guo et al., ICML 2017).

    The most probable one under a log-normal prior around 1, by golden-section search over its logarithm.
    """

    def cost(log_temperature: float) -> float:
        fit = functional.cross_entropy(logits.double() / math.exp(log_temperature), labels, reduction="sum").item()
        return fit + 0.5 * (log_temperature / _PRIOR_SPREAD) ** 2

    low, high = map(math.log, _TEMPERATURES)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if cost(left) < cost(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def outside_threshold(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """Probability below which an answer counts as none of the classes (Hendrycks and Gimpel, ICLR 2017).

    95 % of the validation images that are answered right lie above it; 0 when there are too few to tell.
    """
    probabilities, answers = functional.softmax(logits / temperature, dim=1).max(1)
    right = probabilities[answers == labels]
    if len(right) < _FEWEST_FOR_OUTSIDE:
        return 0.0
    return float(torch.quantile(right, 1 - _SURE_SHARE))
