"""Small things to learn: manifests of tinted pictures, and the quickest network that learns them."""

import hashlib
from pathlib import Path

from tests.pictures import coloured, encoded
from trainer.manifest import TRAIN, VALIDATION, Item, Manifest
from trainer.options import TrainOptions
from trainer.watch import Silent

ARCH = "squeezenet1_1"


def make_manifest(folder: Path, classes: tuple[str, ...] = ("Red", "Green"), train: int = 8, held: int = 3) -> Manifest:
    """A manifest of pictures in `folder`, `train` and `held` of each class."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for label, name in enumerate(classes):
        for seed in range(train + held):
            path = folder / f"{label}-{seed}.jpg"
            path.write_bytes(encoded(coloured(label, seed), quality=92))
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            items.append(Item(f"{name}{seed}", path, sha256, label, TRAIN if seed < train else VALIDATION))
    return Manifest(classes, tuple(items))


def options(**more: object) -> TrainOptions:
    """Options of a run of seconds."""
    values: dict[str, object] = {
        "arch": ARCH,
        "init": "none",
        "size": 32,
        "epochs": 2,
        "seed": 1,
        "device": "cpu",
        **more,
    }
    return TrainOptions(**values)  # type: ignore[arg-type]


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        """Keep it."""
        self.lines.append(message)
