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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from trainer import checkpoint, network, parallel
from trainer.batches import Data, epoch_images, load
from trainer.compiling import learned_through
from trainer.epoch import train_epoch
from trainer.errors import DivergedError, TrainerError
from trainer.evaluate import Precision, Score, fit_temperature, logits_of, outside_threshold, score
from trainer.files import sweep, write, write_json
from trainer.finish import Final, finished
from trainer.manifest import TRAIN, Manifest
from trainer.memory import keep_freed_memory
from trainer.options import TrainOptions
from trainer.outside import BANK_FILE, BORDER, Border, border
from trainer.parallel import Crew
from trainer.precision import choose_precision
from trainer.state import State, save, start
from trainer.trust import trust
from trainer.watch import SILENT, Watcher
from trainer.weights import put


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
    outsiders: dict[str, int] = field(default_factory=dict)
    """Images of none of the classes: `learned` from, `held_out`, and of these `found`. Empty: there are none."""


_UNKNOWN = Score(math.nan, math.nan)
_NONE = RunResult(0, math.nan, 0, math.nan, 0, "")
"""What a process has that does not lead, until the leader tells."""


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

    Under `torchrun` every process calls this with the same arguments, on the same files, and has the same result.
    """
    manifest.check()
    with parallel.crew() as crew:
        manifest.check_files()
        folder.mkdir(parents=True, exist_ok=True)
        given, options = options, _fit_batch(options, len(manifest.side(TRAIN)))
        device = crew.device(network.pick_device(options.device))
        if device.type == "cpu":
            keep_freed_memory()
        state = start(manifest, options, device, folder, watcher)
        if crew.agreed(state.epoch) != state.epoch:
            raise TrainerError(f"{folder} does not hold the same checkpoint for every process; let them share it")
        data = _load(manifest, options, cache_folder, device, watcher, crew)
        precision = choose_precision(state.network, device)
        state.forward = learned_through(crew.together(state.network), options, precision, alone=crew.size == 1)
        if crew.leads:
            sweep(folder)
            _cut_metrics(folder / "metrics.jsonl", state.epoch)
            write(folder / "manifest.csv", manifest.to_csv(folder).encode())
        _learn(state, data, manifest, options, precision, folder, watcher, crew, checkpoint_seconds)
        return crew.agreed(_finish(folder, state, data, manifest, given, precision, watcher) if crew.leads else _NONE)


def _learn(
    state: State,
    data: Data,
    manifest: Manifest,
    options: TrainOptions,
    precision: Precision,
    folder: Path,
    watcher: Watcher,
    crew: Crew,
    checkpoint_seconds: float,
) -> None:
    """Learn epoch by epoch; what the leader finds in validation decides for all."""
    last_saved = time.monotonic()
    each = epoch_images(len(data.train), options)
    watcher.begin(f"training {options.arch}", options.epochs * each)
    watcher.advance(state.epoch * each)
    while state.epoch < options.epochs and state.epoch - state.best_epoch < options.recipe.patience:
        state.epoch += 1
        loss = train_epoch(state, data, options, precision, watcher, crew)
        found = crew.agreed(_validate(state, data, options, precision) if crew.leads else _UNKNOWN)
        state.keep_if_better(found)
        if not crew.leads:
            continue
        _keep_metrics(folder, state, loss, found, watcher)
        if time.monotonic() - last_saved >= checkpoint_seconds:
            save(folder, state, manifest, options)
            watcher.saved("checkpoint")
            last_saved = time.monotonic()
    if state.epoch < options.epochs and crew.leads:
        watcher.say(f"stopped after epoch {state.epoch} of {options.epochs}: none was better since {state.best_epoch}")


def _load(
    manifest: Manifest, options: TrainOptions, folder: Path, device: torch.device, watcher: Watcher, crew: Crew
) -> Data:
    """Load the images; of the processes of one machine the first decodes them, and the others read what it wrote."""
    if crew.local_rank:
        crew.wait()
        return load(manifest, options, folder, device, watcher)
    data = load(manifest, options, folder, device, watcher)
    crew.wait()
    return data


def _fit_batch(options: TrainOptions, images: int) -> TrainOptions:
    """Let a batch be no larger than a sixteenth of a small dataset: few images then still make enough steps.

    A ResNet-18 from nothing on 332 drawings of 13 classes, 20 epochs: 0.62 of held-out ones right with batches of 16,
    0.58 with 32.
    """
    batch = max(2, min(options.recipe.batch_size, 2 ** int(math.log2(max(images / 16, 2)))))
    return replace(options, recipe=replace(options.recipe, batch_size=batch))


def _validate(state: State, data: Data, options: TrainOptions, precision: Precision) -> Score:
    with state.average.applied(state.network):
        # Without the mirror images and the larger size that a finished run answers by: epochs are only compared.
        logits = logits_of(state.network, data.validation, options.size, precision, mirror=False)
        return score(logits, data.validation_labels)


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
    folder: Path,
    state: State,
    data: Data,
    manifest: Manifest,
    options: TrainOptions,
    precision: Precision,
    watcher: Watcher,
) -> RunResult:
    if state.best is None:
        raise DivergedError("no epoch gave outputs that are numbers; try another --seed or --init")
    put(state.network, state.best_weights)
    size = network.test_size(options)
    final = finished(state.network, data, len(manifest.classes), size, precision, watcher)
    logits, labels = final.logits, data.validation_labels
    temperature = fit_temperature(logits, labels)
    validation_sha256 = checkpoint.write_weights(
        folder / checkpoint.VALIDATION_FILE, {"logits": logits, "labels": labels}
    )
    found = border(final.bank, final.features, logits, labels, temperature)
    result = RunResult(
        best_epoch=state.best_epoch,
        validation_accuracy=score(logits, labels).accuracy,
        validation_images=len(data.validation),
        images_per_second=float(np.median(state.speeds)),
        epochs=state.epoch,
        weights_sha256=checkpoint.write_weights(folder / "model.safetensors", final.tensors()),
        trust=trust(logits, labels, manifest.classes, temperature).as_dict(),
        outsiders=_outsiders(final, found, temperature, len(data.outsiders)),
    )
    # Without a border nobody would read the bank.
    bank_sha256 = found and checkpoint.write_weights(folder / BANK_FILE, final.bank.tensors())
    write_json(
        folder / "run.json",
        {
            "classes": list(manifest.classes),
            "images": manifest.fingerprint(),
            "options": options.as_dict(),
            "test_size": size,
            "depths": final.head and final.head.as_dict(),
            "last_layer_accuracy": final.last_layer.accuracy,
            "temperature": temperature,
            "outside_below": outside_threshold(logits, labels, temperature),
            "outside": found and {"sha256": bank_sha256, "border": asdict(found)},
            "bfloat16": precision.bfloat16,
            "validation_sha256": validation_sha256,
            **result.__dict__,
        },
    )
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return result


def _outsiders(final: Final, found: Border | None, temperature: float, learned: int) -> dict[str, int]:
    if not learned or found is None:
        return {}
    held_out = 0
    beyond = 0
    if final.outsiders is not None:
        logits, features = final.outsiders
        probabilities = functional.softmax(logits.double() / temperature, dim=1).max(1).values
        scores = found.scores(final.bank, features, probabilities)
        held_out, beyond = len(scores), int((scores > BORDER).sum())
    return {"learned": learned, "held_out": held_out, "found": beyond}
