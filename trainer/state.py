"""All of a run that changes from epoch to epoch: made new, taken up from a checkpoint, written to one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer import checkpoint, network
from trainer.checkpoint import Checkpoint, grouped
from trainer.errors import TrainerError
from trainer.evaluate import Score
from trainer.manifest import Manifest
from trainer.optimise import EMA, make_optimizer, optimizer_tensors, restore_optimizer
from trainer.options import TrainOptions
from trainer.teacher import Teacher
from trainer.watch import Watcher
from trainer.weights import put

Forward = Callable[[Tensor], Tensor]


@dataclass
class State:
    """All that changes from epoch to epoch."""

    network: nn.Module
    forward: Forward
    """The same network as it is learned through: compiled, or with the gradients of all processes; or itself."""
    optimizer: torch.optim.Optimizer
    average: EMA
    classes: int
    teacher: Teacher | None = None
    epoch: int = 0
    steps: int = 0
    """Batches learned from."""
    best: Score | None = None
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    speeds: list[float] = field(default_factory=list)
    parts: int = 1
    """In which a batch is learned from, one after the other, since the device's memory is too short for all of it."""

    def keep_if_better(self, found: Score) -> None:
        """Keep the present mean of the weights if validation, which found this, never found better."""
        if found.better_than(self.best):
            self.best, self.best_epoch = found, self.epoch
            self.best_weights = {name: tensor.cpu().clone() for name, tensor in self.average.tensors.items()}


def start(manifest: Manifest, options: TrainOptions, device: torch.device, folder: Path, watcher: Watcher) -> State:
    """Make the network, or take up the last whole checkpoint in `folder`. Raises TrainerError for another run's."""
    torch.manual_seed(options.seed)
    model = network.build(options.arch, len(manifest.classes), options.size, options.recipe.head)
    knows = network.initialise(model, options.arch, options.init)
    model = network.place(model, device)
    head = network.head_names(model)
    optimizer = make_optimizer(model, head if knows else set(model.state_dict()), options.recipe)
    state = State(model, model, optimizer, EMA(model, options.recipe.ema_decay), len(manifest.classes))
    if options.teacher is not None:
        softness = options.recipe.teacher_temperature
        state.teacher = Teacher.load(folder.parent / options.teacher, manifest.classes, str(device), softness)
    found, problems = checkpoint.latest(folder / "checkpoints")
    for problem in problems:
        watcher.say(f"left out a damaged checkpoint: {problem}")
    if found is not None:
        _resume(state, found, manifest, options)
        watcher.say(f"going on after epoch {state.epoch}")
    return state


def _resume(state: State, found: Checkpoint, manifest: Manifest, options: TrainOptions) -> None:
    for what, mine in _identity(manifest, options).items():
        if found.state[what] != mine:
            raise TrainerError(f"the checkpoint was made with {what} {found.state[what]}, not {mine}; start a new run")
    put(state.network, found.group("network"))
    state.average.load(found.group("average"), int(found.state["step"]))
    state.best_weights = found.group("best")
    restore_optimizer(state.optimizer, found.group("optimizer"), found.state["step"])
    state.epoch, state.best_epoch = found.epoch, found.state["best_epoch"]
    state.steps = int(found.state["step"])
    state.best = Score(**found.state["best"]) if found.state["best"] else None
    state.speeds = found.state["speeds"]


def _identity(manifest: Manifest, options: TrainOptions) -> dict[str, Any]:
    """What a checkpoint must share with the run that takes it up."""
    return {
        "classes": list(manifest.classes),
        "images": manifest.fingerprint(),
        "options": {k: v for k, v in options.as_dict().items() if k != "device"},
    }


def save(folder: Path, state: State, manifest: Manifest, options: TrainOptions) -> None:
    """Write a checkpoint from which `start` goes on."""
    tensors = optimizer_tensors(state.optimizer)
    kept = {
        "step": float(state.steps),
        "best": None if state.best is None else {"accuracy": state.best.accuracy, "loss": state.best.loss},
        "best_epoch": state.best_epoch,
        "speeds": state.speeds,
        **_identity(manifest, options),
    }
    weights = grouped(
        network=state.network.state_dict(), average=state.average.tensors, optimizer=tensors, best=state.best_weights
    )
    checkpoint.save(folder / "checkpoints", Checkpoint(state.epoch, kept, weights))
