"""`trainer.network`: any torchvision classifier, from weights that are known or from none."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import squeezenet1_1

from trainer import network
from trainer.errors import WeightsError
from trainer.evaluate import Precision
from trainer.precision import _mobile, choose_precision
from trainer.weights import put

# Large RegNets cannot be built without their weights (their widths are computed from tensors): one stands for them.
BUILDABLE = [arch for arch in network.architectures() if not arch.startswith("regnet") or arch == "regnet_y_400mf"]


@pytest.mark.parametrize("arch", BUILDABLE)
def test_every_architecture_takes_our_classes(arch: str) -> None:
    """Each of torchvision's classifiers is built with a head for the classes at hand, and that head is found."""
    with torch.device("cpu" if arch.startswith("regnet") else "meta"):
        model = network.build(arch, 13, 224)
    head = network.head_names(model)
    shapes = {name: weight.shape[0] for name, weight in model.state_dict().items() if name in head}
    assert shapes
    assert set(shapes.values()) == {13}
    put(model, dict(model.state_dict()))  # as they come from a file


@pytest.mark.parametrize("arch", ["vit_b_16", "maxvit_t"])
def test_a_size_that_an_architecture_cannot_take_is_told(arch: str) -> None:
    """Before any picture is decoded, with one that it can."""
    with pytest.raises(WeightsError, match=rf"{arch} takes no pictures of 100 pixels .* try --size 224"):
        network.build(arch, 2, 100)


def test_an_unknown_architecture_is_refused_by_name() -> None:
    """The message gives names that exist."""
    with pytest.raises(WeightsError, match=r"no architecture 'resnet49'.*resnet50"):
        network.build("resnet49", 2, 32)


def test_known_features_are_taken_over_and_the_head_is_new(tmp_path: Path) -> None:
    """Weights from a safetensors file, with a head for a thousand classes or none, become ours but for the head."""
    source = squeezenet1_1().state_dict()
    features = {name: weight for name, weight in source.items() if name.startswith("features")}
    for name, weights in {"whole": source, "features": features}.items():
        save_file(weights, tmp_path / f"{name}.safetensors")
        model = network.build("squeezenet1_1", 3, 64)
        before = model.state_dict()["classifier.1.weight"].clone()
        assert network.initialise(model, "squeezenet1_1", str(tmp_path / f"{name}.safetensors"))
        state = model.state_dict()
        assert all(torch.equal(state[key], weight) for key, weight in features.items())
        assert torch.equal(state["classifier.1.weight"], before)


def test_weights_that_do_not_fit_are_refused_naming_file_and_architecture(tmp_path: Path) -> None:
    """No network starts half-known."""
    file = tmp_path / "other.safetensors"
    save_file(squeezenet1_1().state_dict(), file)
    model = network.build("resnet18", 3, 64)
    with pytest.raises(WeightsError, match=rf"{file} does not fit resnet18: \d+ of its \d+ weights"):
        network.initialise(model, "resnet18", str(file))


class _Payload:
    """What a malicious pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("touched-by-a-pickle"),)  # type: ignore[return-value]


def test_a_pickle_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in torch's own format are refused whatever their name, and no code of theirs runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("weights.pt", "weights.safetensors"):
        torch.save({"a": torch.zeros(1), "b": _Payload()}, tmp_path / name)
        with pytest.raises(WeightsError, match=r"is no safetensors file.*pickled weights are not read"):
            network.read_weights(tmp_path / name)
    assert not (tmp_path / "touched-by-a-pickle").exists()


def test_missing_weights_say_what_init_takes(tmp_path: Path) -> None:
    """A path that is not there is told as such."""
    with pytest.raises(WeightsError, match=r"no weights at .*--init takes imagenet, none, or a safetensors file"):
        network.read_weights(tmp_path / "gone.safetensors")


def test_imagenet_weights_without_a_network_say_what_else_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The download fails in one line that names the two ways around it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = network.build("squeezenet1_1", 3, 64)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"ImageNet weights for squeezenet1_1 cannot be fetched.*--init none"):
        network.initialise(model, "squeezenet1_1", "imagenet")


def test_a_device_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` falls back to the CPU; a GPU asked for by name and missing is an error, not a silent CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert network.pick_device("auto").type == "cpu"
    with pytest.raises(WeightsError, match="device 'warp:1' cannot be used"):
        network.pick_device("warp:1")


def test_bfloat16_is_left_to_networks_that_gain_by_it() -> None:
    """Depthwise convolutions with batch norms stay in full precision on a CPU; dense networks need not."""
    with torch.device("meta"):
        mobile = {arch: _mobile(network.build(arch, 3, 64)) for arch in ("mobilenet_v3_small", "efficientnet_b0")}
        dense = {arch: _mobile(network.build(arch, 3, 64)) for arch in ("resnet50", "squeezenet1_1", "convnext_tiny")}
    assert all(mobile.values())
    assert not any(dense.values())
    chosen = choose_precision(nn.Linear(2, 2), torch.device("cpu"))
    assert isinstance(chosen, Precision)
