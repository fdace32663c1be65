"""Recipes: files to be read and copied, each followed to the letter."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from curate.edit import set_value
from curate.project import Project, open_project
from curate.training import enough_epochs, options_from
from tests.learning import make_manifest, options
from trainer import network, recipes
from trainer.batches import batches as _batches
from trainer.depth_head import DepthHead
from trainer.errors import RecipeError, WeightsError
from trainer.optimise import Schedule, make_optimizer
from trainer.options import TrainOptions
from trainer.predict import Predictor
from trainer.recipes import FAST, load
from trainer.run import train
from trainer.watch import Silent


def recipe_file(folder: Path, name: str = "article", **changed: str) -> Path:
    """A copy of a recipe, with some lines changed, as a person would make it."""
    text = (Path(recipes.__file__).parent / f"{name}.toml").read_text()
    lines = [line for line in text.splitlines() if line.split(" = ")[0] not in changed]
    path = folder / "mine.toml"
    path.write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in changed.items())]))
    return path


def test_the_article_is_told_as_it_was() -> None:
    """Rates, augmentation and patience are those of the article; from scratch, only the first weights differ."""
    article, scratch = load("article"), load("scratch")
    assert (article.optimizer, article.learning_rate, article.time_decay) == ("sgd", 0.01, 1e-6)
    assert (article.rotation, article.shift, article.zoom, article.mirror, article.flip) == (45, 0.2, 0.2, True, True)
    assert (article.batch_size, article.validate_every, article.patience, article.head) == (32, 1000, 20, "flat")
    assert replace(scratch, name="article", init="imagenet") == article
    assert (article.init, scratch.init) == ("imagenet", "none")


def test_noise_is_the_article_drawn_over() -> None:
    """Half of the pictures are spoilt, and nothing else differs; no other recipe spoils any."""
    assert load("noise") == replace(load("article"), name="noise", spoil=0.5)
    assert {name for name in recipes.names() if load(name).spoil} == {"noise"}


def test_a_recipe_can_be_copied_and_changed(tmp_path: Path) -> None:
    """A file beside curate.toml, or in the folder one is in, is a recipe by its name."""
    path = recipe_file(tmp_path, rotation="10", patience="3")
    assert load(path.name, tmp_path) == replace(load("article"), name="mine", rotation=10.0, patience=3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rotatoin": "10"}, "unknown key 'rotatoin'"),
        ({"patience": '"long"'}, "patience is 'long', and should be int"),
        ({"mirror": "1"}, "mirror is 1, and should be bool"),
        ({"optimizer": '"adam"'}, "optimizer is 'adam', not adamw or sgd"),
        ({"batch_size": "0"}, "batch_size is 0; it must be 1 or more"),
        ({"learning_rate": "-0.1"}, "learning_rate is -0.1; it must be 0 or more"),
        ({"zoom": "nan"}, "zoom is nan"),
        ({"warm_up": "1.5"}, "warm_up is 1.5; it is a share"),
        ({"spoil": "2"}, "spoil is 2.0; it is a share"),
        ({"head": "="}, "no valid TOML"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    """One line says which key, and what it should be."""
    with pytest.raises(RecipeError, match=said):
        load(recipe_file(tmp_path, **changed).name, tmp_path)


def test_what_is_no_recipe_is_told(tmp_path: Path) -> None:
    """A wrong name lists those there are; a file that is gone, or lacks keys, is named."""
    with pytest.raises(RecipeError, match="there are article, distill, fast, noise, scratch"):
        load("fats")
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*gone\.toml"):
        load("gone.toml", tmp_path)
    (tmp_path / "bare.toml").write_text("patience = 3")
    with pytest.raises(RecipeError, match="lacks batch_size"):
        load("bare.toml", tmp_path)


def test_the_flat_head_sees_where_things_are() -> None:
    """One layer over the whole last map: an answer may depend on the place, which pooling would hide."""
    flat = network.build("resnet18", 3, 64, "flat").eval()
    layers = [layer for layer in flat.modules() if isinstance(layer, nn.Linear)]
    assert (layers[0].in_features, len(layers)) == (512 * 2 * 2, 1)
    assert network.head_names(flat) == {"fc.1.weight", "fc.1.bias"}
    picture = torch.zeros(1, 3, 64, 64)
    picture[..., :32, :32] = 3.0
    features = nn.Sequential(*list(flat.children())[:-2])
    with torch.inference_mode():
        maps = features(picture)
        assert torch.allclose(flat(picture), layers[0](maps.flatten(1)), atol=1e-5)


@pytest.mark.parametrize("arch", ["squeezenet1_1", "resnet18", "mobilenet_v3_small", "efficientnet_b0", "vgg11"])
def test_many_networks_can_have_a_flat_head(arch: str) -> None:
    """Whatever ends in a feature map answers with one score a class."""
    with torch.inference_mode():
        assert network.build(arch, 4, 64, "flat").eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 4)


@pytest.mark.parametrize("arch", ["vit_b_32", "densenet121"])
def test_a_network_without_a_feature_map_to_take_has_no_flat_head(arch: str) -> None:
    """It is said, with what to take instead."""
    with pytest.raises(WeightsError, match=f"{arch} has no last feature map"):
        network.build(arch, 3, 64, "flat")


def test_time_lowers_the_rate() -> None:
    """After n steps the article's rate is divided by 1 + 1e-6 n, from the first step on."""
    schedule = Schedule(load("article"), steps=100)
    assert [schedule.factor(step) for step in (0, 1, 500_000)] == [1.0, 1 / 1.000001, 1 / 1.5]


def test_the_rate_scales_with_the_batch() -> None:
    """With its size for SGD, with the root of it for AdamW."""
    model = network.build("squeezenet1_1", 2, 32)
    for recipe, times in ((load("article"), 4.0), (FAST, 2.0)):
        optimizer = make_optimizer(model, set(), replace(recipe, batch_size=128))
        assert {group["peak"] for group in optimizer.param_groups} == {recipe.learning_rate * times}


def test_batches_go_through_all_images_again_and_again() -> None:
    """However many batches lie between two validations, each turn shows every image once, in another order."""
    wanted = options(recipe=replace(FAST, batch_size=4))
    rows = [b.tolist() for first in (0, 7, 14) for b in _batches(16, wanted, first, 7)]
    turns = [[row for batch in rows[start : start + 4] for row in batch] for start in range(0, 20, 4)]
    assert all(sorted(turn) == list(range(16)) for turn in turns)
    assert turns[0] != turns[1]
    assert rows == [b.tolist() for b in _batches(16, wanted, 0, 21)]


def test_a_run_follows_the_article(tmp_path: Path) -> None:
    """Validated every so many batches, with SGD and the flat head; its weights answer, and say with which head."""
    recipe = load(
        recipe_file(tmp_path, validate_every="3", learning_rate="0.001", head_learning_rate="0.001").name, tmp_path
    )
    wanted = options(arch="resnet18", epochs=4, size=64, recipe=replace(recipe, batch_size=4))
    manifest = make_manifest(tmp_path / "pictures")
    result = train(manifest, wanted, tmp_path / "run", tmp_path / "cache")
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == result.epochs == 4
    found = Predictor.load(tmp_path / "run", "cpu")
    network = found.model.network if isinstance(found.model, DepthHead) else found.model
    assert network.get_submodule("fc.1").in_features == 512 * 2 * 2
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["options"]
    assert TrainOptions.from_dict(kept) == wanted


class Breaks(Silent):
    """Stops a run at its second checkpoint."""

    left = 2

    def saved(self, what: str) -> None:  # noqa: ARG002 - the watcher's signature
        """Count down."""
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_momentum_outlives_a_stop(tmp_path: Path) -> None:
    """An SGD run that was stopped and resumed ends in the same bits as one that was not."""
    manifest = make_manifest(tmp_path / "pictures")
    slow = replace(load("article"), validate_every=3, learning_rate=0.001, head_learning_rate=0.001)
    wanted = options(arch="resnet18", epochs=4, size=32, recipe=slow)
    with pytest.raises(KeyboardInterrupt):
        train(manifest, wanted, tmp_path / "stopped", tmp_path / "cache", Breaks(), checkpoint_seconds=0)
    resumed = train(manifest, wanted, tmp_path / "stopped", tmp_path / "cache", checkpoint_seconds=0)
    assert resumed.weights_sha256 == train(manifest, wanted, tmp_path / "whole", tmp_path / "cache").weights_sha256


def test_the_command_line_goes_before_the_recipe_and_that_before_the_settings(
    make_project: Callable[..., Project],
) -> None:
    """A recipe asked for brings its own first weights and length; what is said beside it counts more."""
    project = make_project()
    assert options_from(project).recipe == FAST
    assert (options_from(project).init, options_from(project).epochs) == ("imagenet", 30)
    asked = options_from(project, recipe="scratch")
    assert (asked.init, asked.epochs, asked.recipe.name) == ("none", 100, "scratch")
    assert options_from(project, recipe="scratch", init="imagenet", epochs=3).init == "imagenet"
    set_value(project.root / "curate.toml", "train.recipe", "article")
    set_value(project.root / "curate.toml", "train.init", "weights.safetensors")
    again = open_project(project.root)
    found = options_from(again)
    assert (found.recipe.name, found.init) == ("article", str(project.root / "weights.safetensors"))
    assert options_from(again, recipe="scratch").init == "none"
    recipe_file(project.root)
    set_value(project.root / "curate.toml", "train.recipe", "mine.toml")
    mine = open_project(project.root)
    assert options_from(mine).recipe.name == "mine"
    for opened in (again, mine):
        opened.database.close()


@pytest.mark.parametrize(("images", "epochs"), [(0, 30), (300, 30), (1000, 22), (2000, 11), (2600, 11), (50_000, 11)])
def test_few_images_are_gone_through_more_often(images: int, epochs: int) -> None:
    """About as many steps, whatever the dataset: but 11 epochs at least, and 30 at most."""
    assert enough_epochs(images, 32) == epochs
