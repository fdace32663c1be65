"""Answers of a finished run for any image file."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from trainer import network, serve
from trainer.batches import cached_side
from trainer.cache import Pixels, square
from trainer.checkpoint import VALIDATION_FILE, read_checked
from trainer.depth_head import DepthHead
from trainer.errors import WeightsError
from trainer.evaluate import Precision, outputs_of
from trainer.features import Features
from trainer.manifest import VALIDATION
from trainer.memory import keep_freed_memory
from trainer.outside import BANK_FILE, BORDER, Bank, Border, scores_by_softmax
from trainer.precision import cpu_multiplies_bfloat16
from trainer.weights import put

_BATCH = 32
BACKENDS = ("auto", "torch", "openvino")
_WORTH_CONVERTING = 256
"""Pictures from which on a run is converted unasked: for a ResNet-50 at 224 that saves half a minute, after seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run says of one image. `label` is the most probable class, `score` its calibrated probability."""

    label: int
    score: float
    probabilities: tuple[float, ...]
    """One a class, in the run's order; they add up to 1."""
    outside: bool
    """Further from the classes than nearly all validation images: none of them, `label` being the nearest."""
    outside_score: float
    """How far, from 0 to 1; what is outside has more than 0.5."""
    features: Features = field(default_factory=lambda: np.empty(0, np.float32), repr=False, compare=False)
    """(D,), what the last layer saw."""


@dataclass(frozen=True)
class Predictor:
    """A finished run, ready to answer."""

    classes: tuple[str, ...]
    model: nn.Module
    size: int
    """Side of the pictures that the network sees."""
    temperature: float
    outside_below: float
    precision: Precision
    bank: Bank | None = None
    """None in runs from before it was kept, and where too few images were held out to say what is far: the probability
    alone then tells what lies outside."""
    border: Border | None = None
    decoded: int | None = None
    """Side of the squares that pictures are decoded to; None: what belongs to `size`."""
    openvino: serve.OpenVino | None = None
    """What computes instead of `model`, where it does."""

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "auto",
        backend: str = "auto",
        pictures: int = 1,
        say: Callable[[str], None] = lambda _: None,
    ) -> "Predictor":
        """Load a run. Raises WeightsError when it is not finished, or its weights are not what it wrote.

        The backend `torch` computes in fp32 on a CPU, what the others are measured by. `openvino` takes pictures one by
        one, in bfloat16 where the CPU multiplies it and the run was validated in it. `auto` is OpenVINO on a CPU where
        it is installed, if the run was converted before or so many `pictures` wait that it pays; if OpenVINO then
        cannot, that is said and PyTorch answers.
        """
        if backend not in BACKENDS:
            raise WeightsError(f"no backend {backend!r}; there is {', '.join(BACKENDS)}")
        run = read_run(folder)
        options = run["options"]
        where = network.pick_device(device)
        if where.type == "cpu":
            keep_freed_memory()
        weights = read_checked(folder / "model.safetensors", run["weights_sha256"])
        head = options["recipe"].get("head", "dense")  # older runs do not say
        model = network.build(options["arch"], len(run["classes"]), options["size"], head)
        try:
            model = _with_weights(model, weights, run)
        except RuntimeError as error:
            raise WeightsError(
                f"{folder}: its weights are not those of {options['arch']} with {len(run['classes'])} classes"
            ) from error
        found = cls(
            classes=tuple(run["classes"]),
            model=network.place(model, where),
            size=run.get("test_size", options["size"]),  # older runs answer at the size they learned at
            decoded=cached_side(options["size"]),
            temperature=run["temperature"],
            outside_below=run["outside_below"],
            precision=Precision(where, bfloat16=run["bfloat16"] and where.type == "cuda"),
            **_surroundings(folder, run.get("outside")),
        )
        if not found._wants_openvino(folder, backend, pictures):
            return found
        try:
            return replace(found, openvino=found._open(folder, run))
        except WeightsError as error:
            if backend == "openvino":
                raise
            say(f"{error}")
            return found

    def _wants_openvino(self, folder: Path, backend: str, pictures: int) -> bool:
        on_cpu = self.precision.device.type == "cpu"
        if backend == "openvino" and not on_cpu:
            raise WeightsError(f"OpenVINO computes on the CPU, not on {self.precision.device}; --backend torch does")
        if backend != "auto":
            return backend == "openvino"
        return on_cpu and serve.installed() and (pictures >= _WORTH_CONVERTING or serve.is_converted(folder))

    def _open(self, folder: Path, run: dict[str, Any]) -> serve.OpenVino:
        bfloat16 = run["bfloat16"] and cpu_multiplies_bfloat16()
        return serve.open_converted(folder, self.model, self.size, run["weights_sha256"], bfloat16=bfloat16)

    @property
    def side(self) -> int:
        """Of the squares that pictures are decoded to, as in training."""
        return self.decoded or cached_side(self.size)

    @property
    def backend(self) -> str:
        """What computes: `torch` or `openvino`."""
        return "openvino" if self.openvino else "torch"

    def logits(self, pixels: Pixels) -> Tensor:
        """Raw outputs for squares of any side, (N, side, side, 3) bytes: (N, classes), float32 on the CPU."""
        return self.outputs(pixels)[0]

    def outputs(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Raw outputs, and the features they come from, (N, D), as `evaluate.outputs_of` gives them."""
        if self.openvino is not None:
            return self.openvino.outputs(pixels)
        return outputs_of(self.model, pixels, self.size, self.precision)

    def answers(self, pixels: Pixels) -> list[Answer]:
        """Answer for squares of any side, (N, side, side, 3) bytes."""
        logits, features = self.outputs(pixels)
        probabilities = functional.softmax(logits / self.temperature, dim=1)
        outside = self._outside(features, probabilities.max(1).values).tolist()
        return [_answer(*found) for found in zip(probabilities, outside, features.numpy(), strict=True)]

    def _outside(self, features: Tensor, probabilities: Tensor) -> Tensor:
        if self.bank is None or self.border is None:
            return scores_by_softmax(probabilities, self.outside_below)
        return self.border.scores(self.bank, features, probabilities)

    def stream(self, sources: Iterable[Callable[[], bytes]]) -> Iterator[Answer | Exception]:
        """Answer for encoded images, in order; in place of one that cannot be read or decoded, the error."""
        side = self.side

        def decode(source: Callable[[], bytes]) -> Pixels | Exception:
            try:
                return square(source(), side)
            except Exception as error:  # noqa: BLE001 - a decoder may raise anything; it costs this image only
                return error

        left = iter(sources)
        with ThreadPoolExecutor(network.cores()) as pool:
            decoding = pool.map(decode, list(islice(left, _BATCH)))
            while squares := list(decoding):
                # The next batch is decoded while this one is computed.
                decoding = pool.map(decode, list(islice(left, _BATCH)))
                yield from self._answers_in_order(squares)

    def _answers_in_order(self, squares: list[Pixels | Exception]) -> Iterator[Answer | Exception]:
        good = [found for found in squares if not isinstance(found, Exception)]
        answers = iter(self.answers(np.stack(good)) if good else [])
        for found in squares:
            yield found if isinstance(found, Exception) else next(answers)


def _answer(probabilities: Tensor, outside: float, features: Features) -> Answer:
    label = int(probabilities.argmax())
    score = float(probabilities[label])
    return Answer(label, score, tuple(probabilities.tolist()), outside > BORDER, outside, features)


def _with_weights(model: nn.Module, weights: Mapping[str, Tensor], run: dict[str, Any]) -> nn.Module:
    """Put a run's weights into its network, with the head that reads several depths where it has one."""
    depths = run.get("depths")  # older runs answer by the last layer
    if depths is None:
        put(model, weights)
        return model
    found = DepthHead.blank(model, len(run["classes"]), depths)
    found.load(weights)
    return found


def _surroundings(folder: Path, outside: dict[str, Any] | None) -> dict[str, Any]:
    if outside is None:
        return {}
    tensors = read_checked(folder / BANK_FILE, outside["sha256"])
    return {"bank": Bank.from_tensors(tensors), "border": Border(**outside["border"])}


def read_run(folder: Path) -> dict[str, Any]:
    """Read `run.json`. Raises WeightsError when there is none: the run is not finished."""
    try:
        run: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except OSError as error:
        raise WeightsError(f"{folder} holds no finished run") from error
    except ValueError as error:
        raise WeightsError(f"{folder / 'run.json'} is damaged: {error}") from error
    return run


@dataclass(frozen=True)
class Validation:
    """What a run's best weights said of the images held out, as it ended."""

    sha256: tuple[str, ...]
    """Of each image, in ascending order."""
    logits: Tensor
    """(N, classes), as `logits_of` gives them: not divided by the temperature."""
    labels: Tensor
    """(N,), counted in the run's classes."""


def read_validation(folder: Path) -> Validation:
    """Read a run's answers on its own validation images. Raises WeightsError when they are gone or were altered."""
    expected = read_run(folder).get("validation_sha256")
    if expected is None:
        raise WeightsError(f"{folder} was made before runs kept their validation answers; train it again")
    tensors = read_checked(folder / VALIDATION_FILE, expected)
    manifest = folder / "manifest.csv"
    try:
        with manifest.open(newline="") as file:
            held_out = sorted(row["sha256"] for row in csv.DictReader(file) if row["split"] == VALIDATION)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{manifest} cannot be read ({error})") from error
    if len(held_out) != len(tensors["labels"]):
        raise WeightsError(f"{manifest} was altered or cut off: it has other images than {VALIDATION_FILE}")
    return Validation(tuple(held_out), tensors["logits"], tensors["labels"])
