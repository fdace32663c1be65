"""What only a GPU does: passes recorded and played, memory that is short, answers sent home without waiting."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.learning import make_manifest, options
from trainer import network
from trainer.batches import load
from trainer.embed import Embedder
from trainer.epoch import train_epoch
from trainer.evaluate import Precision, outputs_of
from trainer.parallel import Crew
from trainer.predict import Predictor
from trainer.recording import Recorded
from trainer.run import train
from trainer.state import start
from trainer.watch import SILENT

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and this machine has none")

GPU, CPU = torch.device("cuda"), torch.device("cpu")
PLAIN = Precision(GPU, bfloat16=False)


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Multiply in full, so that two ways of computing one thing can be compared."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def passed(way: object, model: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Outputs of a pass, and the gradients that the pass back leaves."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(3)
    outputs: Tensor = way(images)  # type: ignore[operator]
    outputs.float().square().sum().backward()  # type: ignore[no-untyped-call]
    return outputs.detach().clone(), [w.grad.clone() for w in model.parameters() if w.grad is not None]


@pytest.mark.parametrize("arch", ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "efficientnet_b0", "vit_b_16"])
def test_a_recorded_pass_is_the_plain_one(arch: str) -> None:
    """Outputs, gradients, running means and what dropout leaves out, again and again; whatever a batch's size."""
    plain = network.place(network.build(arch, 3, 224 if arch == "vit_b_16" else 64), GPU).train()
    twin = copy.deepcopy(plain)
    recorded = Recorded(twin, 4, PLAIN)
    size = 224 if arch == "vit_b_16" else 64
    for count in (4, 3, 4, 4):
        images = torch.randn(count, 3, size, size, device=GPU).contiguous(memory_format=torch.channels_last)
        theirs, ours = passed(plain, plain, images), passed(recorded, twin, images)
        torch.testing.assert_close(ours[0], theirs[0], rtol=1e-3, atol=1e-3)
        for mine, other in zip(ours[1], theirs[1], strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-2, atol=1e-2)
    for (name, mine), other in zip(twin.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3, msg=name)
    assert recorded.played is not None


class Looking(nn.Module):
    """A network that looks at its numbers on the way, which no recording can."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Answer by what it sees."""
        answer: Tensor = self.layer(images.flatten(1))
        return answer if float(answer.detach().sum()) > 0 else -answer


def test_what_cannot_be_recorded_is_learned_through_as_it_is() -> None:
    """Without a word: it is no fault of anybody's."""
    model = Looking().to(GPU)
    recorded = Recorded(model, 4, PLAIN)
    images = torch.randn(4, 3, 2, 2, device=GPU)
    for _ in range(2):
        assert torch.equal(passed(recorded, model, images)[0], passed(model, model, images)[0])


def test_a_gpu_learns_and_answers(tmp_path: Path) -> None:
    """From files to a run; the CPU answers by its weights as the GPU does, and pictures of its own colours right."""
    manifest = make_manifest(tmp_path / "pictures", train=40, held=20)
    found = train(manifest, options(device="cuda", epochs=8, size=64), tmp_path / "run", tmp_path / "cache")
    assert found.validation_accuracy > 0.9
    pixels = np.random.default_rng(0).integers(0, 256, (300, 73, 73, 3), np.uint8)
    gpu, cpu = (Predictor.load(tmp_path / "run", kind, "torch") for kind in ("cuda", "cpu"))
    ours, theirs = (
        outputs_of(by.model, pixels, 64, Precision(by.precision.device, bfloat16=False)) for by in (gpu, cpu)
    )
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-2, atol=1e-3)


def test_short_memory_of_a_gpu_takes_smaller_parts(tmp_path: Path) -> None:
    """A batch that does not fit is learned from in parts, recorded or not."""
    manifest = make_manifest(tmp_path / "pictures", train=64, held=4)
    wanted = options(device="cuda", arch="resnet50", size=256)
    wanted = replace(wanted, recipe=replace(wanted.recipe, batch_size=128))
    state = start(manifest, wanted, GPU, tmp_path / "run", SILENT)
    data = load(manifest, wanted, tmp_path / "cache", GPU, SILENT)
    state.forward = Recorded(state.network, 128, PLAIN)
    state.epoch = 1
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 8e9) / total)
    try:
        loss = train_epoch(state, data, wanted, PLAIN, SILENT, Crew())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert state.parts > 1
    assert np.isfinite(loss)


def test_features_from_a_gpu_are_those_of_a_cpu(tmp_path: Path) -> None:
    """Of one depth and of several."""
    torch.manual_seed(0)
    save_file(network.build("squeezenet1_1", 2, 64).state_dict(), tmp_path / "w.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (70, 73, 73, 3), np.uint8)
    for deep in (False, True):
        ours, theirs = (
            Embedder.load("squeezenet1_1", str(tmp_path / "w.safetensors"), 64, kind, deep=deep)
            for kind in ("cuda", "cpu")
        )
        assert ours.name == theirs.name
        np.testing.assert_allclose(ours.embed(pixels), theirs.embed(pixels), rtol=0.05, atol=0.05)
