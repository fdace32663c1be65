"""Any torchvision classifier by name, with a last layer for our classes, from known weights or from none."""

import math
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from trainer.errors import WeightsError
from trainer.options import TrainOptions
from trainer.vision import models
from trainer.weights import put

_FETCH_SECONDS = 20.0
_ONE_SIZE = ("vit_", "maxvit")
_SIZE_STEP = 32
"""By which networks reduce their pictures: sizes between would lose pixels at the border."""
_AUXILIARY = {"googlenet", "inception_v3"}
"""Their second output helps only in long training from nothing."""


def architectures() -> list[str]:
    """Names of all classifiers that can be asked for."""
    return [str(name) for name in models.list_models(module=models)]


def check(arch: str) -> None:
    """Raise WeightsError for a name that no classifier has."""
    if arch not in (names := architectures()):
        near = get_close_matches(arch, names, 3) or ["resnet50", "squeezenet1_1", "convnext_tiny"]
        raise WeightsError(f"no architecture {arch!r}; there is for instance {', '.join(near)}")


def check_named(options: TrainOptions) -> None:
    """Raise WeightsError for a network, a device or a file of weights that is not there, before anything is made."""
    check(options.arch)
    pick_device(options.device)
    if options.init not in {"none", "imagenet"}:
        read_weights(Path(options.init))


def build(arch: str, classes: int, size: int, head: str = "dense") -> nn.Module:
    """Make a network with random weights, by torch's global generator.

    With the head `flat`, one layer over the last feature map, as it is for pictures of `size`, takes the place of
    pooling and the network's own head. Raises WeightsError for an unknown name, or a head that cannot be replaced so.
    """
    check(arch)
    more: dict[str, object] = {}
    if arch in _AUXILIARY:
        more = {"aux_logits": False, "init_weights": True}
    elif arch.startswith("vit_"):
        more = {"image_size": size}
    elif arch.startswith("maxvit"):
        more = {"input_size": (size, size)}
    try:
        network: nn.Module = models.get_model(arch, weights=None, num_classes=classes, **more)
    except (AssertionError, ValueError) as error:  # a transformer parts its picture into patches of one size
        why = " ".join(str(error).split())
        raise WeightsError(f"{arch} takes no pictures of {size} pixels ({why}); try --size 224") from error
    if head == "flat":
        _flatten_head(network, arch, classes, size)
    return network


def _flatten_head(network: nn.Module, arch: str, classes: int, size: int) -> None:
    none = f"{arch} has no last feature map to flatten; take resnet50, or a recipe with head = 'dense'"
    pool = getattr(network, "avgpool", None)
    watched = getattr(network, "features", None) if pool is None else pool
    if not isinstance(watched, nn.Module):
        raise WeightsError(none)
    shapes: list[torch.Size] = []
    hook = watched.register_forward_hook(
        lambda _, given, found: shapes.append((found if pool is None else given[0]).shape)
    )
    _probe(network, size)
    hook.remove()
    if pool is not None:
        network.avgpool = nn.Identity()
    last = "fc" if isinstance(getattr(network, "fc", None), nn.Linear) else "classifier"
    setattr(network, last, nn.Sequential(nn.Flatten(1), nn.Linear(math.prod(shapes[0][1:]), classes)))
    try:
        _probe(network, size)
    except RuntimeError as error:  # it pools by itself, past any layer that could be replaced
        raise WeightsError(none) from error


def _probe(network: nn.Module, size: int) -> None:
    training = network.training
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, size, size))
    network.train(training)


def train_size(options: TrainOptions, share: float) -> int:
    """Side of the pictures that are learned from after `share` of the run: small first, as the recipe says.

    A network whose weights depend on the picture's size always sees its own.
    """
    recipe = options.recipe
    if recipe.head == "flat" or options.arch.startswith(_ONE_SIZE):
        return options.size
    side = options.size * (recipe.first_size + (recipe.last_size - recipe.first_size) * share)
    return min(options.size, max(_SIZE_STEP, round(side / _SIZE_STEP) * _SIZE_STEP))


def test_size(options: TrainOptions) -> int:
    """Side of the pictures that a finished run answers for.

    Larger than in training only where the first weights were known: what came from none learned that one scale alone.
    """
    if options.init == "none" or options.recipe.head == "flat" or options.arch.startswith(_ONE_SIZE):
        return options.size
    return round(options.size * options.recipe.test_size)


def head_names(network: nn.Module) -> set[str]:
    """Names of the last layer's weights: in every torchvision classifier the one whose shape the classes decide."""
    layers = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return {name for name in network.state_dict() if name.startswith(f"{layers[-1]}.")}


def initialise(network: nn.Module, arch: str, init: str) -> bool:
    """Give the network its first weights, and tell whether its features know anything already.

    `init` is `none`, `imagenet` (torchvision's, fetched and kept by torch), or a safetensors file whose names are the
    network's own. Raises WeightsError.
    """
    if init == "none":
        return False
    known = _imagenet(arch) if init == "imagenet" else read_weights(Path(init))
    _adopt(network, known, head_names(network), f"{init} weights" if init == "imagenet" else init, arch)
    return True


def _imagenet(arch: str) -> Mapping[str, Tensor]:
    try:
        weights = models.get_model_weights(arch).DEFAULT
        with _patience(_FETCH_SECONDS), redirect_stdout(sys.stderr):  # torch prints there what it fetches
            found: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"ImageNet weights for {arch} cannot be fetched ({error}); "
            "give them with --init FILE.safetensors, or start from nothing with --init none"
        ) from error
    return found


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Let new connections fail that stay silent for so long: torch fetches without a limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises WeightsError for anything else, pickles above all: those can run code."""
    if not path.is_file():
        raise WeightsError(f"no weights at {path}; --init takes imagenet, none, or a safetensors file")
    try:
        found: dict[str, Tensor] = load_safetensors(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no safetensors file ({error}); pickled weights are not read") from error
    return found


def _adopt(network: nn.Module, known: Mapping[str, Tensor], head: set[str], source: str, arch: str) -> None:
    own = network.state_dict()
    fitting = {name: w for name, w in known.items() if name in own and name not in head and w.shape == own[name].shape}
    missing = [name for name in own if name not in fitting and name not in head]
    if missing:
        raise WeightsError(
            f"{source} does not fit {arch}: {len(missing)} of its {len(own)} weights are not there in that shape,"
            f" {missing[0]} for one"
        )
    put(network, fitting, strict=False)


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to where it computes, its weights laid out channels last: faster on GPUs and in oneDNN alike."""
    return network.to(device).to(memory_format=torch.channels_last)


def pick_device(name: str) -> torch.device:
    """Choose where to compute; `auto` is a GPU if there is one. Raises WeightsError for what is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise WeightsError(
            f"device {name!r} cannot be used ({first}); --device takes auto, cpu, cuda, cuda:1, mps"
        ) from error
    return device


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
