"""`trainer.epoch`: steps in which the device's memory is short, or numbers are none; sizes and rates on the way."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.learning import make_manifest, options
from trainer import network, recipes
from trainer.batches import cached_side
from trainer.compiling import learned_through
from trainer.evaluate import Precision
from trainer.manifest import Manifest
from trainer.optimise import make_optimizer, step_unless
from trainer.recipes import FAST
from trainer.recording import Recorded
from trainer.run import train

CPU = torch.device("cpu")
STEADY = replace(FAST, batch_size=8, mixup=0.0, cutmix=0.0)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_manifest(tmp_path / "pictures")


@pytest.mark.parametrize("name", ["fast", "article"])
def test_a_step_of_numbers_that_are_none_moves_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither weights nor momentum, with either optimizer; the next good one does."""
    layer = nn.Linear(3, 2)
    optimizer = make_optimizer(layer, set(), recipes.load(name))
    optimizer.param_groups[0]["lr"] = 0.1
    monkeypatch.setattr(torch, "empty_like", lambda like, **_: torch.full_like(like, torch.nan))  # as memory may be
    before = layer.weight.detach().clone()
    layer(torch.full((1, 3), torch.nan)).sum().backward()
    step_unless(torch.ones(()), optimizer)
    assert torch.equal(layer.weight, before)
    optimizer.zero_grad()
    layer(torch.ones(1, 3)).sum().backward()
    step_unless(torch.zeros(()), optimizer)
    assert torch.isfinite(layer.weight).all()
    assert not torch.equal(layer.weight, before)


def test_pictures_grow_from_epoch_to_epoch_as_the_recipe_says() -> None:
    """In steps of 32, never beyond the size validated at; networks of one size see only that."""
    growing = replace(FAST, first_size=0.5, last_size=0.9)
    wanted = options(size=224, recipe=growing)
    assert [network.train_size(wanted, share) for share in (0, 0.5, 1)] == [128, 160, 192]
    assert network.train_size(replace(wanted, recipe=replace(FAST, first_size=1.0, last_size=1.0)), 0.3) == 224
    assert network.train_size(replace(wanted, arch="vit_b_16"), 0) == 224
    assert network.train_size(replace(wanted, recipe=replace(growing, head="flat")), 0) == 224
    assert network.train_size(replace(wanted, size=48), 0) == 32


def test_a_finished_run_looks_at_larger_pictures_where_it_knew_something_before() -> None:
    """As much larger as the recipe says; not from random weights, and not where only one size fits."""
    wanted = options(size=224, init="some.safetensors")
    assert network.test_size(wanted) == cached_side(224) - 1
    assert network.test_size(replace(wanted, init="none")) == 224
    assert network.test_size(replace(wanted, arch="vit_b_16")) == 224
    assert network.test_size(replace(wanted, recipe=recipes.load("article"))) == 224


def test_early_layers_learn_slower_where_the_recipe_says_so() -> None:
    """From `first_rate` of the features' rate up to all of it, by ratio; the head has its own."""
    model = network.build("resnet18", 2, 32)
    recipe = replace(FAST, first_rate=0.01)
    optimizer = make_optimizer(model, network.head_names(model), recipe)
    peaks = {id(p): group["peak"] for group in optimizer.param_groups for p in group["params"]}
    of = {name: peaks[id(parameter)] for name, parameter in model.named_parameters()}
    assert of["conv1.weight"] == pytest.approx(0.01 * recipe.learning_rate)
    assert of["layer4.1.bn2.bias"] == pytest.approx(recipe.learning_rate)
    assert of["fc.weight"] == recipe.head_learning_rate
    features = [rate for name, rate in of.items() if not name.startswith("fc.")]
    assert features == sorted(features)


def test_a_compiled_network_leaves_the_weights_of_the_plain_one(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is asked for, training goes through torch's compiler, here without its minute of C++."""
    seen: list[object] = []

    def compiler(network: nn.Module, *, dynamic: bool) -> object:
        seen.append(network)
        return real(network, dynamic=dynamic, backend="aot_eager")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", compiler)
    by_compiler = train(manifest, options(epochs=1, compile=True), tmp_path / "compiled", tmp_path / "cache")
    assert len(seen) == 1
    plain = train(manifest, options(epochs=1), tmp_path / "plain", tmp_path / "cache")
    assert len(seen) == 1
    found = [load_file(tmp_path / run / "model.safetensors") for run in ("compiled", "plain")]
    assert found[0].keys() == found[1].keys()
    assert by_compiler.validation_images == plain.validation_images


def test_a_gpu_plays_what_it_recorded_unless_several_learn_together() -> None:
    """A CPU learns through the network itself."""
    layer = nn.Linear(1, 1)
    cpu, gpu = (Precision(torch.device(kind), bfloat16=False) for kind in ("cpu", "cuda"))
    assert learned_through(layer, options(), cpu) is layer
    assert isinstance(learned_through(layer, options(), gpu), Recorded)
    assert learned_through(layer, options(), gpu, alone=False) is layer


def test_a_network_is_compiled_for_whole_batches_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last, smaller one of a turn would cost another minute."""
    monkeypatch.setattr(torch, "compile", lambda _, **__: lambda images: images.new_zeros(len(images), 2))
    through = learned_through(nn.Linear(3, 2), options(compile=True, recipe=STEADY), Precision(CPU, bfloat16=False))
    assert not through(torch.ones(8, 3)).any()
    assert through(torch.ones(7, 3)).any()
