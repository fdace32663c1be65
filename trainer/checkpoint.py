"""Where a run stands, on disk: weights as safetensors, everything else as JSON, and a SHA-256 that binds the two.

safetensors and torch alike load a flipped bit without a word: so the hash is checked at every load.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from trainer.errors import WeightsError
from trainer.files import digest, write, write_json

VALIDATION_FILE = "validation.safetensors"
"""Of a finished run: what its weights answered on the images held out."""
_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to go on after `epoch`: `state` is plain JSON, `tensors` are named `group.name`."""

    epoch: int
    state: dict[str, Any]
    tensors: dict[str, Tensor]

    def group(self, name: str) -> dict[str, Tensor]:
        """Tensors of one group, without its name."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)}


def grouped(**groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors `group.name`, as they were at this moment."""
    return {
        f"{group}.{name}": tensor.detach().cpu().clone()
        for group, tensors in groups.items()
        for name, tensor in tensors.items()
    }


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the ones before the last are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = write_weights(folder / f"{checkpoint.epoch:06d}.safetensors", checkpoint.tensors)
    # The record comes last: weights without it are as good as not there.
    write_json(
        folder / f"{checkpoint.epoch:06d}.json", {"epoch": checkpoint.epoch, "sha256": sha256, **checkpoint.state}
    )
    for record in sorted(folder.glob("*.json"))[:-_KEPT]:
        record.unlink()
        record.with_suffix(".safetensors").unlink(missing_ok=True)


def latest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Give the newest checkpoint that is whole, and what was wrong with newer ones."""
    problems: list[str] = []
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            state = json.loads(path.read_text())
            tensors = read_checked(path.with_suffix(".safetensors"), state.pop("sha256"))
            return Checkpoint(state.pop("epoch"), state, tensors), problems
        except (OSError, ValueError, KeyError, WeightsError) as error:
            problems.append(f"{path.with_suffix('.safetensors')}: {error}")
    return None, problems


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors as safetensors and give the file's SHA-256."""
    data = save_safetensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    write(path, data)
    return digest(data)


def read_checked(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read tensors of a file that must have this SHA-256. Raises WeightsError when it is gone or was altered."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror})") from error
    actual = digest(data)
    if actual != sha256:
        raise WeightsError(f"{path} was altered or cut off: its SHA-256 is {actual[:12]}…, not {sha256[:12]}…")
    found: dict[str, torch.Tensor] = load_safetensors(data)
    return found
