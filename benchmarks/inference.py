"""Pictures a second on the CPU, by every means there is: PyTorch eager and compiled, ONNX Runtime, OpenVINO.

From bytes to outputs, the mean over a picture and its mirror image, as `curate predict` computes them.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import absent, alternated, figure, ratio
from trainer import network, serve
from trainer.augment import to_input
from trainer.cache import Pixels

Calls = dict[str, Callable[[], object]]

_CLASSES = 13
_ROUNDS = 5
_SETTINGS = (("resnet50", 224, 32), ("resnet50", 224, 1), ("squeezenet1_1", 160, 32), ("squeezenet1_1", 160, 1))
_BASE = "eager fp32"


def run() -> Iterator[str]:
    """Yield a figure a network, batch and way, alternated."""
    for arch, size, batch in _SETTINGS:
        yield from measure(arch, size, batch)
    yield from filter(None, (absent(name, "serve") for name in ("onnxruntime", "openvino")))


def measure(arch: str, size: int, batch: int) -> Iterator[str]:
    """Yield a figure for each way to answer for `batch` pictures at once."""
    torch.manual_seed(0)
    model = network.build(arch, _CLASSES, size).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    calls = {**_torch(model, pixels), **_onnxruntime(model, pixels), **_openvino(model, pixels)}
    for call in calls.values():
        call()  # compilers compile now
    took = alternated(calls, _ROUNDS)
    for way, seconds in took.items():
        speed = batch / float(np.median(seconds))
        yield figure(
            f"{arch} at {size}, batch {batch}, {way}", images_per_second=speed, times_eager_fp32=ratio(took, _BASE, way)
        )


def _torch(model: nn.Module, pixels: Pixels) -> Calls:
    plain, placed = serve.Mirrored(model), serve.Mirrored(copy.deepcopy(model).to(memory_format=torch.channels_last))
    compiled = torch.compile(placed)

    def eager() -> object:
        with torch.inference_mode():
            return plain(_images(pixels))

    def bfloat16(which: Callable[[Tensor], object]) -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return which(_images(pixels).contiguous(memory_format=torch.channels_last))

    return {
        _BASE: eager,
        "eager bf16 channels_last": lambda: bfloat16(placed),
        "torch.compile bf16 channels_last": lambda: bfloat16(compiled),
    }


def _images(pixels: Pixels) -> Tensor:
    return to_input(torch.tensor(pixels), pixels.shape[1])


def _onnxruntime(model: nn.Module, pixels: Pixels) -> Calls:
    if not find_spec("onnxruntime"):
        return {}
    import onnxruntime  # noqa: PLC0415 - an extra

    mirrored = serve.Mirrored(model).eval()
    program = torch.onnx.export(mirrored, (_images(pixels),), dynamo=True, input_names=["images"], verbose=False)
    data = program.model_proto.SerializeToString() if program else b""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return {"ONNX Runtime fp32": lambda: session.run(None, {"images": _images(pixels).numpy()})}


def _openvino(model: nn.Module, pixels: Pixels) -> Calls:
    if not serve.installed():
        return {}
    with tempfile.TemporaryDirectory() as name:
        fp32, bf16 = (
            serve.open_converted(Path(name), model, pixels.shape[1], "drawn", bfloat16=bfloat16)
            for bfloat16 in (False, True)
        )
    return {
        "OpenVINO fp32, one by one": lambda: fp32.outputs(pixels),
        "OpenVINO bf16, one by one": lambda: bf16.outputs(pixels),
    }
