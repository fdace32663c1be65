"""Features of pictures by a network as it is before it learned our classes: what images are compared by.

Computed once an image: a file a network keeps them beside the images' hashes, and takes in what is new.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainer import cache, features, network
from trainer.batches import cached_side
from trainer.depths import deep_features
from trainer.evaluate import Precision, outputs_of
from trainer.features import Features
from trainer.files import sweep
from trainer.manifest import Item
from trainer.watch import SILENT, Watcher

_BATCH = 64
_KEPT_EVERY = 512
"""Images after which what is computed goes to disk: a network on a CPU takes half a minute for so many."""


@dataclass(frozen=True)
class Embedder:
    """A network without a last layer of its own."""

    name: str
    """Tells features of one network, at one size, from those of another: its weights' hash is in it."""
    model: nn.Module
    size: int
    precision: Precision
    deep: bool = False
    """Whether features come from several depths."""

    @classmethod
    def load(cls, arch: str, init: str, size: int, device: str = "auto", *, deep: bool = False) -> "Embedder":
        """Load `arch` with `init` weights, as `network.initialise` takes them. Raises WeightsError.

        With `none` its weights are random, the same ones every time.
        """
        where = network.pick_device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = network.build(arch, 2, size)
            network.initialise(model, arch, init)
        name = f"{arch}-{size}-{_digest(model)}{'-deep' if deep else ''}"
        return cls(name, network.place(model.eval(), where), size, Precision(where, bfloat16=False), deep)

    def embed(self, pixels: cache.Pixels) -> Features:
        """Features of squares of any side, (N, side, side, 3) bytes: what the last layer would see, averaged.

        Or, if `deep`, what `depths.deep_features` gives.
        """
        if self.deep:
            return deep_features(self.model, pixels, self.size, self.precision, _BATCH).numpy()
        return outputs_of(self.model, pixels, self.size, self.precision, _BATCH)[1].numpy()


def _digest(model: nn.Module) -> str:
    head = network.head_names(model)
    found = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        if name not in head:
            found.update(name.encode() + weight.numpy().tobytes())
    return found.hexdigest()[:16]


def embed(embedder: Embedder, items: Sequence[Item], pixels: Path, folder: Path, watcher: Watcher = SILENT) -> Features:
    """Features of `items`, in their order: from the file in `folder`, or computed now and kept there.

    `pixels` is the folder of decoded images. Raises ManifestError and TrainerError as `cache.load` does.
    """
    path = folder / f"{embedder.name}.npz"
    known = features.read(path)
    missing = [row for row, item in enumerate(items) if item.sha256 not in known]
    if missing:
        squares = cache.load(items, cached_side(embedder.size), pixels, watcher)
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        watcher.begin("embedding", len(missing))
        for start in range(0, len(missing), _BATCH):
            rows = missing[start : start + _BATCH]
            for row, found in zip(rows, embedder.embed(squares[rows]), strict=True):
                known[items[row].sha256] = found
            watcher.advance(len(rows))
            if start + _BATCH >= len(missing) or (start + _BATCH) % _KEPT_EVERY == 0:
                features.keep(path, known)
                watcher.saved("embeddings")
    return np.stack([known[item.sha256] for item in items])
