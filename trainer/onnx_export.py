"""A finished run as one ONNX file, which anybody can serve: bytes of pictures in, calibrated probabilities out."""

import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.augment import MEAN, STD
from trainer.cache import Pixels
from trainer.errors import WeightsError
from trainer.evaluate import Precision, logits_of
from trainer.files import digest, write, write_json
from trainer.predict import Predictor, read_run
from trainer.serve import INSTALL, Mirrored

TOLERANCE = 1e-4
"""Largest difference between probabilities that is put down to rounding, in fp32 on both sides."""
_FEWEST = 3
"""torch takes a batch of one or two in its example for a length that never changes."""


@dataclass(frozen=True, slots=True)
class OnnxReport:
    """The file that was written, and how it was checked."""

    file: Path
    sha256: str
    bytes: int
    side: int
    """Of the squares it takes, (B, side, side, 3) bytes, RGB."""
    classes: tuple[str, ...]
    largest_difference: float
    """Between its probabilities by ONNX Runtime and PyTorch's, over all `checked` pictures and classes."""
    checked: int


class _Whole(nn.Module):
    """Everything between a decoded picture and its probabilities, in operators that every runtime has."""

    shrink: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, predictor: Predictor, side: int) -> None:
        super().__init__()
        self.mirrored = Mirrored(predictor.model)
        self.temperature = predictor.temperature
        # Shrinking with antialiasing is linear along each axis: as a matrix it is exactly torch's, where runtimes'
        # own ways of resizing differ or lack it.
        rows = functional.interpolate(
            torch.eye(side)[None, None], (predictor.size, side), mode="bilinear", antialias=True
        )
        self.register_buffer("shrink", rows[0, 0])
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        """Turn (B, side, side, 3) bytes into probabilities, (B, classes)."""
        images = self.shrink @ pixels.permute(0, 3, 1, 2).float() @ self.shrink.t()
        return functional.softmax(self.mirrored((images - self.mean) / self.std) / self.temperature, dim=1)


def export_onnx(folder: Path, target: Path, pixels: Pixels) -> OnnxReport:
    """Write a run's network to `target`, and what a server must know to `target` with `.json` added.

    `pixels` are pictures to check it on, (N, side, side, 3) with the side of `cached_side`. Raises WeightsError when
    onnx is not installed, the network cannot be exported, or ONNX Runtime's answers are not PyTorch's; nothing is
    written then.
    """
    onnx, runtime = (_required(name) for name in ("onnx", "onnxruntime"))
    _required("onnxscript")
    predictor = Predictor.load(folder, "cpu", "torch")
    side = predictor.side
    model = _without_traces(_exported(predictor, side))
    facts = _facts(folder, predictor, side)
    onnx.helper.set_model_props(model, {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()})
    data: bytes = model.SerializeToString()
    difference = _difference(runtime, data, predictor, pixels)
    if not difference <= TOLERANCE:
        raise WeightsError(
            f"the ONNX file's probabilities differ from PyTorch's by {difference:.2g}, more than {TOLERANCE};"
            " it was not written"
        )
    report = OnnxReport(target, digest(data), len(data), side, predictor.classes, difference, len(pixels))
    write(target, data)
    # The record comes last: a file without it was not finished.
    write_json(target.with_name(f"{target.name}.json"), facts | asdict(report) | {"file": target.name})
    return report


def _required(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise WeightsError(f"exporting a model needs {name}: {INSTALL}") from error


def _exported(predictor: Predictor, side: int) -> Any:  # noqa: ANN401 - onnx's
    network = _Whole(predictor, side).eval()
    example = torch.zeros(_FEWEST, side, side, 3, dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,  # the other way, by TorchScript, is quicker, deprecated and warns
            input_names=["pixels"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    except (RuntimeError, ValueError, TypeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"torch cannot export this network ({first})") from error
    if program is None:
        raise WeightsError("torch gave no ONNX program")
    return program.model_proto


def _without_traces(model: Any) -> Any:  # noqa: ANN401 - onnx's
    """Take out where in which source file each operator came from: paths of this machine are nobody's business."""
    for graph in (model.graph, *model.functions):
        for part in (*graph.node, *graph.value_info):
            del part.metadata_props[:]
            part.doc_string = ""
        del graph.metadata_props[:]
    return model


def _facts(folder: Path, predictor: Predictor, side: int) -> dict[str, Any]:
    run = read_run(folder)
    return {
        "classes": list(predictor.classes),
        "arch": run["options"]["arch"],
        "side": side,
        "size": predictor.size,
        "temperature": predictor.temperature,
        "outside_below": predictor.outside_below,
        "weights_sha256": run["weights_sha256"],
    }


def _difference(runtime: ModuleType, data: bytes, predictor: Predictor, pixels: Pixels) -> float:
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    logits = logits_of(predictor.model, pixels, predictor.size, Precision(torch.device("cpu"), bfloat16=False))
    expected = functional.softmax(logits / predictor.temperature, dim=1)
    # Alone and together: the number of pictures must be free.
    found = [session.run(None, {"pixels": part})[0] for part in (pixels[:1], pixels[1:]) if len(part)]
    actual = torch.cat([torch.from_numpy(part) for part in found])
    return float((actual - expected).abs().max())
