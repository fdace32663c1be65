"""The images of a run, decoded, and the order in which they are learned from."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from trainer import cache
from trainer.manifest import TRAIN, VALIDATION, Manifest, labels_of
from trainer.options import TrainOptions
from trainer.recipes import LARGEST_TEST
from trainer.watch import Watcher

_RESIDENT_SHARE = 0.4
"""Of a GPU's free memory that decoded images may take; the rest is for the network and its activations."""


@dataclass(frozen=True)
class Data:
    """The images of both sides, decoded, and their labels; and those of none of the classes, which have none."""

    train: cache.Pixels
    train_labels: Tensor
    validation: cache.Pixels
    validation_labels: Tensor
    outsiders: cache.Pixels
    outsiders_held_out: cache.Pixels
    resident: Tensor | None = None
    """All of `train` on the device that learns, where it has the room: batches then cross no bus."""

    def batch(self, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Pixels, (B, side, side, 3) bytes, and labels, (B,), of some rows, on `device`."""
        labels = _sent(self.train_labels[rows], device)
        if self.resident is not None:
            return self.resident[_sent(rows, device)], labels
        return _sent(torch.from_numpy(self.train[rows.numpy()]), device), labels


def load(manifest: Manifest, options: TrainOptions, folder: Path, device: torch.device, watcher: Watcher) -> Data:
    """Decode what no cache in `folder` holds, and send the train side to the device if it can stay there."""
    train_items, validation_items = manifest.side(TRAIN), manifest.side(VALIDATION)
    parts = [train_items, validation_items, manifest.outsiders_of(TRAIN), manifest.outsiders_of(VALIDATION)]
    pixels = cache.load([item for part in parts for item in part], cached_side(options.size), folder, watcher)
    ends = list(accumulate(map(len, parts)))
    train, validation, outsiders, held_out = (
        pixels[end - len(part) : end] for part, end in zip(parts, ends, strict=True)
    )
    return Data(
        train=train,
        train_labels=torch.tensor(labels_of(train_items)),
        validation=validation,
        validation_labels=torch.tensor(labels_of(validation_items)),
        outsiders=outsiders,
        outsiders_held_out=held_out,
        resident=torch.tensor(train, device=device) if _room_for(train.nbytes, device) else None,
    )


def cached_side(size: int) -> int:
    """Side of the squares that images are decoded to: 256 for 224, room for zooming in without blur."""
    return round(size * LARGEST_TEST)


def batches(images: int, options: TrainOptions, first: int, count: int, fewest: int = 2) -> Iterator[Tensor]:
    """Rows of `count` batches from batch number `first` on: all images in a new order, again and again."""
    each = steps_of(images, options, fewest)
    turn = -1
    for number in range(first, first + count):
        if number // each != turn:
            turn = number // each
            generator = torch.Generator().manual_seed((options.seed * 1_000_003 + turn) * 2 + 1)
            order = torch.split(torch.randperm(images, generator=generator), options.recipe.batch_size)
        yield order[number % each]


def steps_of(images: int, options: TrainOptions, fewest: int = 2) -> int:
    """Batches that all images make.

    A last batch of less than `fewest` is left out, other pictures each time: batch normalisation cannot learn from one.
    """
    batch = options.recipe.batch_size
    return images // batch + (images % batch >= fewest)


def epoch_steps(images: int, options: TrainOptions, fewest: int = 2) -> int:
    """Batches between two validations."""
    return options.recipe.validate_every or steps_of(images, options, fewest)


def epoch_images(images: int, options: TrainOptions) -> int:
    """Images between two validations, about: the last batch of a turn may be smaller."""
    each = options.recipe.validate_every
    return each * options.recipe.batch_size if each else images


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Send it without waiting: the host goes on to prepare the next batch."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _room_for(needed: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return False  # on the CPU the file's pages are mapped already
    free, _ = torch.cuda.mem_get_info(device)
    return needed <= free * _RESIDENT_SHARE
