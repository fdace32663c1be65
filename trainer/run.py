"""Training, from a manifest to a run folder. Read it from the top down.

A run folder holds `manifest.csv` (what was learned from), `metrics.jsonl` (a line an epoch), and at the end
`model.safetensors`, `validation.safetensors` (outputs and labels of the images held out) and `bank.safetensors`
(features, to tell what is of no class) with `run.json`, which carries the SHA-256 of each. While the run goes on,
`checkpoints/` holds all that is needed to continue: randomness is drawn anew from (seed, epoch), so a run that was
killed and resumed on the CPU ends in the same bits as one that was not.
"""

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer import cache, checkpoint, network
from trainer.augment import vary
from trainer.errors import DivergedError
from trainer.evaluate import Precision, Score, fit_temperature, logits_of, outputs_of, outside_threshold, score
from trainer.files import sweep, write, write_json
from trainer.manifest import TRAIN, VALIDATION, Manifest, labels_of
from trainer.optimise import Schedule
from trainer.options import TrainOptions
from trainer.outside import BANK_FILE, Bank, border, sample
from trainer.precision import choose_precision
from trainer.state import State, save, start
from trainer.trust import trust
from trainer.watch import SILENT, Watcher

_CACHE_MARGIN = 8 / 7
VALIDATION_FILE = "validation.safetensors"


@dataclass(frozen=True)
class RunResult:
    """What a run came to."""

    best_epoch: int
    validation_accuracy: float
    validation_images: int
    images_per_second: float
    """In training, validation left out; the median over epochs."""
    epochs: int
    weights_sha256: str
    trust: dict[str, Any] = field(default_factory=dict)
    """`trainer.trust.Trust`, as plain values; empty in runs from before it was kept."""


@dataclass(frozen=True)
class _Data:
    """The images of both sides, decoded, and their labels."""

    train: cache.Pixels
    train_labels: Tensor
    validation: cache.Pixels
    validation_labels: Tensor


def train(
    manifest: Manifest,
    options: TrainOptions,
    folder: Path,
    cache_folder: Path,
    watcher: Watcher = SILENT,
    checkpoint_seconds: float = 30.0,
) -> RunResult:
    """Train until the last epoch, or until nothing gets better, and leave the best weights in `folder`.

    Goes on from the last whole checkpoint in `folder`, if there is one; one is written after the first epoch that ends
    `checkpoint_seconds` after the one before. Raises TrainerError, before the first epoch, for data or options that
    cannot work, and later for a loss that is no number; the last good checkpoint then stays.
    """
    manifest.check()
    manifest.check_files()
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    device = network.pick_device(options.device)
    given, options = options, _fit_batch(options, len(manifest.side(TRAIN)))
    state = start(manifest, options, device, folder, watcher)
    _cut_metrics(folder / "metrics.jsonl", state.epoch)
    data = _load(manifest, options, cache_folder, watcher)
    precision = choose_precision(state.network, device)
    write(folder / "manifest.csv", manifest.to_csv(folder).encode())

    last_saved = time.monotonic()
    each = _epoch_images(len(data.train), options)
    watcher.begin(f"training {options.arch}", options.epochs * each)
    watcher.advance(state.epoch * each)
    while state.epoch < options.epochs and state.epoch - state.best_epoch < options.recipe.patience:
        state.epoch += 1
        loss = _train_epoch(state, data, options, precision, watcher)
        found = _validate(state, data, options, precision)
        _keep_metrics(folder, state, loss, found, watcher)
        if time.monotonic() - last_saved >= checkpoint_seconds:
            save(folder, state, manifest, options)
            watcher.saved("checkpoint")
            last_saved = time.monotonic()
    return _finish(folder, state, data, manifest, given, precision)


def cached_side(size: int) -> int:
    """Side of the squares that images are decoded to: 256 for 224, room for zooming in without blur."""
    return round(size * _CACHE_MARGIN)


def _fit_batch(options: TrainOptions, images: int) -> TrainOptions:
    """Let a batch be no larger than a sixteenth of a small dataset: few images then still make enough steps.

    A ResNet-18 from nothing on 332 drawings of 13 classes, 20 epochs: 0.62 of held-out ones right with batches of 16,
    0.58 with 32.
    """
    batch = max(2, min(options.recipe.batch_size, 2 ** int(math.log2(max(images / 16, 2)))))
    return replace(options, recipe=replace(options.recipe, batch_size=batch))


def _load(manifest: Manifest, options: TrainOptions, folder: Path, watcher: Watcher) -> _Data:
    train_items, validation_items = manifest.side(TRAIN), manifest.side(VALIDATION)
    pixels = cache.load([*train_items, *validation_items], cached_side(options.size), folder, watcher)
    return _Data(
        train=pixels[: len(train_items)],
        train_labels=torch.tensor(labels_of(train_items)),
        validation=pixels[len(train_items) :],
        validation_labels=torch.tensor(labels_of(validation_items)),
    )


def _train_epoch(state: State, data: _Data, options: TrainOptions, precision: Precision, watcher: Watcher) -> float:
    """Learn until the next validation; gives the mean loss."""
    torch.manual_seed(options.seed * 1_000_003 + state.epoch)  # dropout draws from torch's global generator
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + state.epoch)
    length = _epoch_steps(len(data.train), options)
    schedule = Schedule(options.recipe, steps=options.epochs * length)
    state.network.train()
    started = time.monotonic()
    total = seen = 0.0
    for rows in _batches(len(data.train), options, (state.epoch - 1) * length, length):
        schedule.set(state.optimizer, state.steps)
        pixels = torch.from_numpy(data.train[rows.numpy()]).to(precision.device, non_blocking=True)
        labels = data.train_labels[rows].to(precision.device, non_blocking=True)
        images = vary(pixels, options.size, options.recipe, generator).contiguous(memory_format=torch.channels_last)
        loss = _step(state, images, labels, options, precision)
        total, seen = total + loss * len(rows), seen + len(rows)
        watcher.advance(len(rows))
    state.speeds.append(seen / (time.monotonic() - started))
    return total / seen


def _step(state: State, images: Tensor, labels: Tensor, options: TrainOptions, precision: Precision) -> float:
    with precision.autocast():
        outputs = state.network(images)
    loss = functional.cross_entropy(outputs.float(), labels, label_smoothing=options.recipe.label_smoothing)
    value = loss.item()
    if not math.isfinite(
        value
    ):  # before the step: `nan > best` and `nan < best` are both False, and weights would be lost
        raise DivergedError(
            f"the loss is {value} in epoch {state.epoch}; the last good checkpoint is kept. Try another --seed."
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimizer.step()
    state.steps += 1
    state.average.update(state.network)
    return value


def _steps(images: int, options: TrainOptions) -> int:
    """Batches that all images make."""
    batch = options.recipe.batch_size
    # Batch normalisation cannot learn from one picture: a last batch of one is left out, another picture each time.
    return images // batch + (images % batch > 1)


def _epoch_steps(images: int, options: TrainOptions) -> int:
    """Batches between two validations."""
    return options.recipe.validate_every or _steps(images, options)


def _epoch_images(images: int, options: TrainOptions) -> int:
    """Images between two validations, about: the last batch of a turn may be smaller."""
    each = options.recipe.validate_every
    return each * options.recipe.batch_size if each else images


def _batches(images: int, options: TrainOptions, first: int, count: int) -> Iterator[Tensor]:
    """Rows of `count` batches from batch number `first` on: all images in a new order, again and again."""
    each = _steps(images, options)
    turn = -1
    for number in range(first, first + count):
        if number // each != turn:
            turn = number // each
            generator = torch.Generator().manual_seed((options.seed * 1_000_003 + turn) * 2 + 1)
            batches = torch.split(torch.randperm(images, generator=generator), options.recipe.batch_size)
        yield batches[number % each]


def _validate(state: State, data: _Data, options: TrainOptions, precision: Precision) -> Score:
    with state.average.applied(state.network):
        logits = logits_of(state.network, data.validation, options.size, precision)
        found = score(logits, data.validation_labels)
        if found.better_than(state.best):
            state.best, state.best_epoch = found, state.epoch
            state.best_weights = {k: v.detach().cpu().clone() for k, v in state.network.state_dict().items()}
    return found


def _keep_metrics(folder: Path, state: State, loss: float, found: Score, watcher: Watcher) -> None:
    metrics = {
        "epoch": state.epoch,
        "train_loss": round(loss, 5),
        "validation_loss": round(found.loss, 5),
        "validation_accuracy": round(found.accuracy, 5),
        "images_per_second": round(state.speeds[-1], 1),
        "best": state.best_epoch == state.epoch,
    }
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(metrics) + "\n")
    watcher.epoch(metrics)


def _cut_metrics(path: Path, epoch: int) -> None:
    """Drop the lines of epochs that were lost in a kill and will be done again."""
    lines = path.read_text().splitlines() if path.exists() else []
    write(path, "".join(f"{line}\n" for line in lines[:epoch]).encode())


def _finish(
    folder: Path, state: State, data: _Data, manifest: Manifest, options: TrainOptions, precision: Precision
) -> RunResult:
    if state.best is None:
        raise DivergedError("no epoch gave outputs that are numbers; try another --seed or --init")
    state.network.load_state_dict(state.best_weights)
    logits, features = outputs_of(state.network, data.validation, options.size, precision)
    temperature = fit_temperature(logits, data.validation_labels)
    answers = {"logits": logits, "labels": data.validation_labels}
    validation_sha256 = checkpoint.write_weights(folder / VALIDATION_FILE, answers)
    result = RunResult(
        best_epoch=state.best_epoch,
        validation_accuracy=state.best.accuracy,
        validation_images=len(data.validation),
        images_per_second=float(np.median(state.speeds)),
        epochs=state.epoch,
        weights_sha256=checkpoint.write_weights(folder / "model.safetensors", state.best_weights),
        trust=trust(logits, data.validation_labels, manifest.classes, temperature).as_dict(),
    )
    bank = _bank(state, data, options, precision)
    found = border(bank.distances(features), logits, data.validation_labels, temperature)
    # Without a border nobody would read the bank.
    bank_sha256 = found and checkpoint.write_weights(folder / BANK_FILE, bank.tensors())
    write_json(
        folder / "run.json",
        {
            "classes": list(manifest.classes),
            "images": manifest.fingerprint(),
            "options": options.as_dict(),
            "temperature": temperature,
            "outside_below": outside_threshold(logits, data.validation_labels, temperature),
            "outside": found and {"sha256": bank_sha256, "border": asdict(found)},
            "bfloat16": precision.bfloat16,
            "validation_sha256": validation_sha256,
            **result.__dict__,
        },
    )
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return result


def _bank(state: State, data: _Data, options: TrainOptions, precision: Precision) -> Bank:
    rows = sample(data.train_labels).numpy()
    return Bank.of(outputs_of(state.network, data.train[rows], options.size, precision)[1])
