"""Images a second of our loop, and of torchvision's way of doing it: DataLoader, PIL transforms, fp32."""

import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

from curate.demo.draw import CLASSES, draw
from trainer.augment import MEAN, STD
from trainer.manifest import TRAIN, VALIDATION, Item, Manifest
from trainer.options import TrainOptions
from trainer.run import train

_EACH = 24
_HELD_OUT = 2
_SIZE = 160
_ARCHS = ("squeezenet1_1", "resnet18")


def run() -> Iterator[str]:
    """Yield a line an architecture and way, alternated."""
    with tempfile.TemporaryDirectory() as name:
        manifest = _drawn(Path(name))
        for arch in _ARCHS:
            options = TrainOptions(arch=arch, init="none", size=_SIZE, epochs=3, seed=1, device="auto")
            reference = _reference(manifest, arch)
            ours = train(manifest, options, Path(name) / arch, Path(name) / "cache").images_per_second
            yield f"{arch} at {_SIZE}: curate {ours:.0f} images/s, torchvision's reference {reference:.0f} images/s"


def _drawn(folder: Path) -> Manifest:
    items = []
    for label, name in enumerate(CLASSES):
        for number in range(_EACH):
            path = folder / f"{name}-{number}.jpg"
            draw(name, number, 500).save(path, quality=90)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            items.append(Item(path.stem, path, sha256, label, VALIDATION if number < _HELD_OUT else TRAIN))
    return Manifest(CLASSES, tuple(items))


class _Files(Dataset[tuple[torch.Tensor, int]]):
    """Pictures opened and varied one by one, as torchvision's reference scripts do."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.transform: Any = transforms.Compose(
            [
                transforms.RandomResizedCrop(_SIZE),
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


def _reference(manifest: Manifest, arch: str) -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network: nn.Module = models.get_model(arch, num_classes=len(manifest.classes)).to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9)
    files = _Files(manifest.side(TRAIN))
    best = 0.0
    for _ in range(2):
        started = time.perf_counter()
        for images, labels in DataLoader(files, 32, shuffle=True, num_workers=2):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(images.to(device)), labels.to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        best = max(best, len(files) / (time.perf_counter() - started))
    return best
