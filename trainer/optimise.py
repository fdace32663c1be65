"""How weights move: the optimizer and its rates, and the running mean that is kept."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.recipes import Recipe
from trainer.weights import put

_REFERENCE_BATCH = 32
_MOMENTUM = 0.9
_STAGES = 6
_MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")


def make_optimizer(network: nn.Module, head: set[str], recipe: Recipe) -> torch.optim.Optimizer:
    """Make the recipe's optimizer, with the head's learning rate for parameters named in `head`.

    Biases and normalisation (all that has one dimension) are not decayed.
    """
    size = recipe.batch_size / _REFERENCE_BATCH
    # The square root is the rule for Adam (Malladi et al., NeurIPS 2022); the linear one is SGD's (Goyal et al. 2017).
    scale = size if recipe.optimizer == "sgd" else math.sqrt(size)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    features = [name for name, _ in network.named_parameters() if name not in head]
    for name, parameter in network.named_parameters():
        rate = recipe.head_learning_rate
        if name not in head:
            rate = recipe.learning_rate * _by_depth(recipe.first_rate, features.index(name) / len(features))
        groups.setdefault((rate * scale, parameter.ndim > 1), []).append(parameter)
    given = [
        {"params": parameters, "peak": rate, "weight_decay": recipe.weight_decay if decayed else 0.0}
        for (rate, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
    # One pass over the weights instead of eight: for ResNet-18 on two cores 11 ms a step instead of 38.
    fused = next(network.parameters()).device.type in {"cpu", "cuda"}
    if recipe.optimizer == "sgd":
        sgd = torch.optim.SGD(given, lr=recipe.learning_rate, momentum=_MOMENTUM, nesterov=True, fused=fused)
        # The fused one makes its momentum of whatever memory held, and fills it in a first step that is taken: were
        # that skipped, the second would add to it. Beginning at nothing gives the same first step.
        for parameter in network.parameters():
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    return torch.optim.AdamW(given, lr=recipe.learning_rate, betas=(0.9, 0.99), fused=fused)


def _by_depth(first: float, depth: float) -> float:
    """Share of the rate at `depth`, 0 for the first layer: discriminative rates (Howard and Ruder, ACL 2018)."""
    return float(first ** (1 - math.floor(depth * _STAGES) / (_STAGES - 1)))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Give the optimizer's moments by name."""
    states = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value
        for index, state in states.items()
        for key, value in state.items()
        if key in _MOMENTS and value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], step: float) -> None:
    """Undo `optimizer_tensors`."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        # In the parameter's own memory layout: the fused step runs through both as they lie, without a look at strides.
        moment = torch.empty_like(parameters[int(index)], requires_grad=False).copy_(tensor)
        states.setdefault(int(index), {} if key == "momentum_buffer" else {"step": torch.tensor(step)})[key] = moment
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def step_unless(wild: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Take a step, unless `wild` is 1: then nothing moves. The host waits for neither.

    Fused optimizers look at `found_inf` on the device, as they do for torch's GradScaler.
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.grad_scale, optimizer.found_inf = None, wild  # type: ignore[attr-defined]
        optimizer.step()
    elif not bool(wild):
        optimizer.step()


@dataclass(frozen=True)
class Schedule:
    """Learning rate by step: a linear rise, then half a cosine down to nothing, or a slow decay with time."""

    recipe: Recipe
    steps: int

    def factor(self, step: int) -> float:
        """Share of the peak rate at `step`, counted from 0."""
        rise = round(self.steps * self.recipe.warm_up)
        if step < rise:
            return (step + 1) / rise
        if self.recipe.schedule == "time":
            return 1 / (1 + self.recipe.time_decay * step)
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))

    def set(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set every group's rate."""
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * self.factor(step)


class EMA:
    """Running mean of the weights: steadier than the last step's, above all with few and partly wrong labels."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the present weights in."""
        self.updates += 1
        # Early on the mean is over what there is, not over the random start.
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        present = network.state_dict()
        real = [name for name, tensor in present.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.tensors[name] for name in real], [present[name] for name in real], 1 - decay)
        whole = [name for name, tensor in present.items() if not tensor.is_floating_point()]
        if whole:
            torch._foreach_copy_([self.tensors[name] for name in whole], [present[name] for name in whole])

    @contextlib.contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Let `network` carry the mean inside this context."""
        own = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        put(network, self.tensors)
        try:
            yield
        finally:
            put(network, own)

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Take up a mean as it was."""
        self.updates = updates
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
