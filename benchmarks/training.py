"""Images a second in training: our loop, and torchvision's way of doing it (DataLoader, PIL transforms, fp32), in turn.

Both learn from the same drawn pictures, files of 500 pixels a side, from random weights; ours has decoded them before.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

from benchmarks.timing import alternated, figure, ratio
from curate.demo.draw import CLASSES, draw
from trainer import network
from trainer.augment import MEAN, STD
from trainer.batches import load
from trainer.epoch import train_epoch
from trainer.manifest import TRAIN, VALIDATION, Item, Manifest
from trainer.options import TrainOptions
from trainer.parallel import Crew
from trainer.precision import choose_precision
from trainer.state import start
from trainer.watch import SILENT

_IMAGES, _BATCH, _ROUNDS = 64, 32, 5
_SETTINGS = (("squeezenet1_1", 160), ("resnet18", 160), ("resnet50", 224))
_OURS, _THEIRS = "curate", "torchvision's reference"


def run() -> Iterator[str]:
    """Yield a figure a network and way."""
    with tempfile.TemporaryDirectory() as name:
        manifest = _drawn(Path(name))
        for arch, size in _SETTINGS:
            ours, theirs = _ours(manifest, arch, size, Path(name)), _reference(manifest, arch, size)
            for once in (ours, theirs):
                once()  # what is done once is done now
            took = alternated({_OURS: ours, _THEIRS: theirs}, _ROUNDS)
            for way, seconds in took.items():
                speed, times = _IMAGES / float(np.median(seconds)), ratio(took, _THEIRS, way)
                yield figure(f"training {arch} at {size}, {way}", images_per_second=speed, times_reference=times)


def _drawn(folder: Path) -> Manifest:
    items = []
    for number in range(_IMAGES + 2):
        label = number % len(CLASSES)
        path = folder / f"{number}.jpg"
        draw(CLASSES[label], number, 500).save(path, quality=90)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        items.append(Item(path.stem, path, sha256, label, TRAIN if number < _IMAGES else VALIDATION))
    return Manifest(CLASSES, tuple(items))


def _ours(manifest: Manifest, arch: str, size: int, folder: Path) -> Callable[[], object]:
    options = TrainOptions(arch=arch, init="none", size=size, epochs=100, seed=1, device="auto")
    device = network.pick_device("auto")
    state = start(manifest, options, device, folder / arch, SILENT)
    data = load(manifest, options, folder / "cache", device, SILENT)
    precision = choose_precision(state.network, device)

    def epoch() -> None:
        state.epoch += 1
        train_epoch(state, data, options, precision, SILENT, Crew())

    return epoch


class _Files(Dataset[tuple[torch.Tensor, int]]):
    """Pictures opened and varied one by one, as torchvision's reference scripts do."""

    def __init__(self, items: list[Item], size: int) -> None:
        self.items = items
        self.transform: Any = transforms.Compose(
            [
                transforms.RandomResizedCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.items[row].path) as image:
            return self.transform(image.convert("RGB")), self.items[row].label


def _reference(manifest: Manifest, arch: str, size: int) -> Callable[[], object]:
    device = network.pick_device("auto")
    model: nn.Module = models.get_model(arch, num_classes=len(manifest.classes)).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)
    files = _Files(manifest.side(TRAIN), size)

    def epoch() -> None:
        for images, labels in DataLoader(files, _BATCH, shuffle=True, num_workers=2):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return epoch
