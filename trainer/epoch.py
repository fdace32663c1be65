"""One epoch of learning: batches varied, mixed and learned from, without the host waiting for the device."""

import math
import time
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from trainer import network
from trainer.augment import vary
from trainer.batches import Data, batches, epoch_steps
from trainer.errors import DivergedError, TrainerError
from trainer.evaluate import Precision
from trainer.mixing import mix
from trainer.optimise import Schedule, step_unless
from trainer.options import TrainOptions
from trainer.parallel import FEWEST, Crew
from trainer.state import State
from trainer.watch import Watcher

_GRADIENT_NORM = 5.0


def train_epoch(
    state: State, data: Data, options: TrainOptions, precision: Precision, watcher: Watcher, crew: Crew
) -> float:
    """Learn until the next validation; gives the mean loss. Raises DivergedError for a loss that is no number.

    All randomness is drawn from (seed, epoch, process) on the CPU: an epoch done again is the same one.
    """
    seed = options.seed * 1_000_003 + state.epoch + crew.rank * 1_000_000_007
    torch.manual_seed(seed)  # dropout draws from torch's global generator
    generator = torch.Generator().manual_seed(seed)
    fewest = FEWEST * crew.size
    length = epoch_steps(len(data.train), options, fewest)
    schedule = Schedule(options.recipe, steps=options.epochs * length)
    size = network.train_size(options, (state.epoch - 1) / max(1, options.epochs - 1))
    tally = _Tally.on(precision.device)
    state.network.train()
    started, seen = time.monotonic(), 0
    for rows in batches(len(data.train), options, (state.epoch - 1) * length, length, fewest):
        schedule.set(state.optimizer, state.steps)
        pixels, labels = data.batch(crew.own(rows), precision.device)
        images = vary(pixels, size, options.recipe, generator)
        images, targets = mix(images, labels, state.classes, options.recipe, generator)
        # What a process adds to the mean over processes is its part of the batch's mean.
        weight = len(labels) * crew.size / len(rows)
        parts = state.parts
        _learn(state, images.contiguous(memory_format=torch.channels_last), targets, weight, options, precision, tally)
        if state.parts > parts:
            short = f"{precision.device} has too little memory for batches of {len(labels)}"
            watcher.say(f"{short}: gradients are added up over {state.parts} parts of each, which takes longer")
        seen += len(rows)
        watcher.advance(len(rows))
        if precision.device.type == "cpu":  # where looking costs no waiting
            tally.check(state.epoch)
    tally.loss, tally.wild = crew.total(tally.loss), crew.total(tally.wild)
    tally.check(state.epoch)
    state.speeds.append(seen / (time.monotonic() - started))
    return float(tally.loss) / seen


@dataclass
class _Tally:
    """Kept on the device: reading it makes the host wait."""

    loss: Tensor
    """Sum over images."""
    wild: Tensor
    """1 from the first loss or gradient on that is no number, 0 before."""

    @classmethod
    def on(cls, device: torch.device) -> "_Tally":
        kind = torch.float32 if device.type == "mps" else torch.float64
        return cls(torch.zeros((), dtype=kind, device=device), torch.zeros((), device=device))

    def check(self, epoch: int) -> None:
        # `nan > best` and `nan < best` are both False, and good weights would be lost without a word.
        if bool(self.wild):
            value = float(self.loss)
            what = "a gradient is no number" if math.isfinite(value) else f"the loss is {value}"
            raise DivergedError(f"{what} in epoch {epoch}; the last good checkpoint is kept. Try another --seed.")


def _learn(
    state: State,
    images: Tensor,
    targets: Tensor,
    weight: float,
    options: TrainOptions,
    precision: Precision,
    tally: _Tally,
) -> None:
    """Take one step. Where the device's memory is short, from gradients of halves, quarters, … of the batch."""
    loss = None
    while loss is None:
        # After the `except`, not in it: the error holds on to all that the pass had in memory.
        with suppress(torch.OutOfMemoryError):
            loss = _gradients(state, images, targets, weight, options, precision)
        if loss is None:
            _take_smaller_parts(state, len(images), options, precision)
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), _GRADIENT_NORM)
    tally.loss += loss * len(images)
    tally.wild.copy_(torch.maximum(tally.wild, (~(loss.isfinite() & norm.isfinite())).float()))
    step_unless(tally.wild, state.optimizer)
    state.steps += 1
    state.average.update(state.network)


def _take_smaller_parts(state: State, images: int, options: TrainOptions, precision: Precision) -> None:
    """Part batches once more. Raises TrainerError where that cannot help."""
    short = f"{precision.device} has too little memory for {options.arch} at {options.size} pixels"
    if distributed.is_initialized():
        # The other processes took no smaller parts, and would wait for this one's gradients for ever.
        raise TrainerError(f"{short} and its share of the batch; take a smaller --size, or a recipe of smaller batches")
    if images // (2 * state.parts) < FEWEST:
        raise TrainerError(f"{short}, even two pictures at a time; take a smaller --size or --arch, or --device cpu")
    state.optimizer.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    state.parts *= 2


def _gradients(
    state: State, images: Tensor, targets: Tensor, weight: float, options: TrainOptions, precision: Precision
) -> Tensor:
    """Leave the gradients of the batch's mean loss, times `weight`, in the parameters; gives that loss itself."""
    state.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=images.device)
    for part, told in zip(images.chunk(state.parts), targets.chunk(state.parts), strict=True):
        target = told if state.teacher is None else state.teacher.targets(part)
        with precision.autocast():
            outputs = state.forward(part)
        loss = _loss(outputs.float(), target, state, options)
        share = loss * (len(part) / len(images))
        (share * weight).backward()  # type: ignore[no-untyped-call]
        total += share.detach()
    return total


def _loss(outputs: Tensor, targets: Tensor, state: State, options: TrainOptions) -> Tensor:
    """Cross-entropy with the labels, or with a teacher's softened answers, in nats."""
    if state.teacher is None:
        return functional.cross_entropy(outputs, targets, label_smoothing=options.recipe.label_smoothing)
    softness = state.teacher.temperature
    # Gradients shrink by the square of the temperature (Hinton et al., 2015).
    return functional.cross_entropy(outputs / softness, targets) * softness**2
