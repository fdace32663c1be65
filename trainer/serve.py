"""A finished network on the CPU by OpenVINO, converted once and kept in its run folder; OpenVINO is imported on use."""

import contextlib
import importlib
import importlib.util
import json
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.augment import to_input
from trainer.cache import Pixels
from trainer.errors import TrainerError, WeightsError
from trainer.evaluate import features_of
from trainer.files import digest, sweep, temporary, write, write_json

INSTALL = "pip install 'curate[serve]'"
FOLDER = "openvino"
"""In the run folder: `model.xml`, `model.bin` and, written last, `record.json` with the SHA-256 of both."""

TOLERANCE = 0.05
"""Largest difference between probabilities, of OpenVINO and of PyTorch in fp32, with which OpenVINO may answer.

On 200 photographs of guitars a SqueezeNet 1.1's differed by 0.014 at most in bfloat16 (PyTorch's own bfloat16: 0.013),
by 0.0000003 in fp32, and no label did. Blots, which are like nothing it learned, differed by 0.005.
"""
_CHECKED = 2
_BATCH = 64


class Mirrored(nn.Module):
    """A network's mean output over each picture and its mirror image, as `logits_of` computes it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Turn normalised (B, 3, size, size) into outputs, (B, classes)."""
        return _mean_of_halves(self.network(torch.cat([images, images.flip(3)])))


class _WithFeatures(nn.Module):
    """The same, and beside it what the last layer saw, (B, D), as `outputs_of` computes both."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Turn normalised (B, 3, size, size) into outputs and features."""
        with features_of(self.network) as seen:
            outputs = self.network(torch.cat([images, images.flip(3)]))
        return _mean_of_halves(outputs), _mean_of_halves(seen.pop())


def _mean_of_halves(both: Tensor) -> Tensor:
    return both.reshape(2, -1, both.shape[1]).mean(0)


@dataclass(frozen=True)
class OpenVino:
    """A compiled network that takes one picture at a time, as many side by side as there are cores.

    So an answer depends on its picture alone, and a last batch that is smaller needs no network of another shape.
    """

    compiled: Any
    size: int

    def outputs(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Raw outputs for squares of any side, (N, side, side, 3) bytes, (N, classes), and features, (N, D)."""
        # By hand, not by its AsyncInferQueue: with that one's callbacks a process stood still now and then.
        waiting: deque[Any] = deque()
        free = [self.compiled.create_infer_request() for _ in range(self._side_by_side())]
        found: list[tuple[Tensor, Tensor]] = []

        def finish() -> None:
            request = waiting.popleft()
            request.wait()
            logits, features = (torch.tensor(request.get_output_tensor(number).data[0]) for number in range(2))
            found.append((logits, features))
            free.append(request)

        for start in range(0, len(pixels), _BATCH):
            images = to_input(torch.tensor(pixels[start : start + _BATCH]), self.size).numpy()
            for image in images:
                if not free:
                    finish()
                waiting.append(free.pop())
                waiting[-1].start_async({0: image[np.newaxis]})
            while waiting:  # the pictures of a batch must outlive their requests
                finish()
        logits, features = zip(*found, strict=True)
        return torch.stack(logits), torch.stack(features)

    def _side_by_side(self) -> int:
        return int(self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))


def installed() -> bool:
    """Whether OpenVINO is there to be imported."""
    return importlib.util.find_spec("openvino") is not None


def is_converted(folder: Path) -> bool:
    """Whether a run was converted before."""
    return (folder / FOLDER / "record.json").exists()


def open_converted(folder: Path, network: nn.Module, size: int, weights_sha256: str, *, bfloat16: bool) -> OpenVino:
    """Compile a run's network, converting it first where that was not done yet.

    `network` is the run's, on the CPU. Raises WeightsError when OpenVINO is not installed, cannot do it, or answers
    otherwise than PyTorch.
    """
    library = _openvino()
    network.eval()
    try:
        model = _kept(library, folder, weights_sha256) or _convert(library, folder, network, size, weights_sha256)
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same cores
        }
        found = OpenVino(library.Core().compile_model(model, "CPU", settings), size)
        difference = _difference(found, network)
    except RuntimeError as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"OpenVINO cannot take this network ({first}); --backend torch answers") from error
    if not difference <= TOLERANCE:
        raise WeightsError(
            f"OpenVINO's probabilities differ from PyTorch's by {difference:.3f}, more than {TOLERANCE};"
            " --backend torch answers"
        )
    return found


def _openvino() -> ModuleType:
    """Import OpenVINO, and keep it from calling home.

    `import openvino` alone reports to Google Analytics unless a file in the home folder forbids it. Without the package
    that does so, it takes a stub of its own.
    """
    if (loaded := sys.modules.get("openvino")) is not None:
        return loaded
    known = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # how Python says: not to be imported
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise WeightsError(f"OpenVINO is not installed: {INSTALL}") from error
    finally:
        del sys.modules["openvino_telemetry"]
        if known is not None:
            sys.modules["openvino_telemetry"] = known


def _kept(library: ModuleType, folder: Path, weights_sha256: str) -> Any:  # noqa: ANN401 - OpenVINO's
    """Read the converted network, or None when there is none that is whole, of these weights and this version."""
    place = folder / FOLDER
    try:
        record = json.loads((place / "record.json").read_text())
        xml, weights = (place / "model.xml").read_bytes(), (place / "model.bin").read_bytes()
    except (OSError, ValueError):
        return None
    if record != _record(library, weights_sha256, xml, weights):
        return None
    return library.Core().read_model(place / "model.xml")


def _convert(library: ModuleType, folder: Path, network: nn.Module, size: int, weights_sha256: str) -> Any:  # noqa: ANN401 - OpenVINO's
    shape = (1, 3, size, size)
    with torch.no_grad():
        exported = torch.export.export(_WithFeatures(network).eval(), (torch.zeros(shape),))
    model = library.convert_model(exported)
    model.reshape(shape)
    # A run folder that cannot be written to: converted anew the next time.
    with contextlib.suppress(OSError, TrainerError):
        _keep(library, folder / FOLDER, model, weights_sha256)
    return model


def _keep(library: ModuleType, place: Path, model: Any, weights_sha256: str) -> None:  # noqa: ANN401 - OpenVINO's
    place.mkdir(exist_ok=True)
    sweep(place)
    (place / "record.json").unlink(missing_ok=True)
    unfinished = temporary(place)
    # It insists on the ending, and puts the weights beside.
    named = unfinished.with_name(f"{unfinished.name}.xml")
    try:
        library.save_model(model, named, compress_to_fp16=False)
        parts = named.read_bytes(), named.with_suffix(".bin").read_bytes()
    finally:
        for path in (unfinished, named, named.with_suffix(".bin")):
            path.unlink(missing_ok=True)
    for name, data in zip(("model.xml", "model.bin"), parts, strict=True):
        write(place / name, data)
    write_json(place / "record.json", _record(library, weights_sha256, *parts))


def _record(library: ModuleType, weights_sha256: str, xml: bytes, weights: bytes) -> dict[str, str]:
    return {
        "openvino": library.get_version(),
        "weights_sha256": weights_sha256,
        "xml_sha256": digest(xml),
        "bin_sha256": digest(weights),
    }


def _difference(found: OpenVino, network: nn.Module) -> float:
    """Largest difference between probabilities on a few soft blots of colour."""
    blots = torch.rand(_CHECKED, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    pixels = functional.interpolate(blots, (found.size, found.size), mode="bilinear").permute(0, 2, 3, 1)
    squares = (pixels * 255).to(torch.uint8)
    with torch.inference_mode():
        expected = Mirrored(network)(to_input(squares, found.size))
    actual, _ = found.outputs(squares.numpy())
    return float((functional.softmax(actual, 1) - functional.softmax(expected, 1)).abs().max())
