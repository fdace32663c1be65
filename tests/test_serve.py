"""Runs that answer by other means than PyTorch: OpenVINO on the CPU, ONNX for other programs; and lists on stdin."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from curate.ingest.folder import import_folder
from curate.prelabel import predict_unlabelled
from curate.progress import Quiet
from curate.project import Project
from curate.split import split
from curate.training import options_from, train_run
from tests.conftest import Cli
from tests.environment import clean_env
from tests.learning import make_manifest, options
from tests.pictures import write_folder
from trainer import network, onnx_export, predict, serve
from trainer.cache import Pixels, square
from trainer.errors import WeightsError
from trainer.onnx_export import export_onnx
from trainer.predict import Predictor
from trainer.recipes import load
from trainer.run import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a small network, whose images lie beside it."""
    folder = tmp_path_factory.mktemp("serve")
    train(make_manifest(folder / "images"), options(), folder / "run", folder / "cache")
    return folder / "run"


@pytest.fixture(scope="module")
def squares(run: Path) -> Pixels:
    """Pictures of the side that a run of 32 pixels decodes them to."""
    files = sorted((run.parent / "images").glob("*.jpg"))[:5]
    return np.stack([square(file.read_bytes(), 37) for file in files])


def test_openvino_answers_as_pytorch_does(run: Path, squares: Pixels) -> None:
    """Told to, it computes, in fp32 where the run was not validated in bfloat16, and gives PyTorch's numbers."""
    torch_run = Predictor.load(run, "cpu", "torch")
    found = Predictor.load(run, "cpu", "openvino")
    assert (torch_run.backend, found.backend) == ("torch", "openvino")
    precise = serve.open_converted(run, torch_run.model, torch_run.size, "weights", bfloat16=False)
    for ours, theirs in zip(precise.outputs(squares), torch_run.outputs(squares), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=0.01)
    for one, other in zip(found.answers(squares), torch_run.answers(squares), strict=True):
        assert np.allclose(one.probabilities, other.probabilities, atol=serve.TOLERANCE)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_an_answer_depends_on_its_picture_alone(run: Path, squares: Pixels, bfloat16: bool) -> None:
    """Among others, in another order or alone, a picture gets the same bits."""
    model = Predictor.load(run, "cpu", "torch").model
    found = serve.open_converted(run, model, 32, "weights", bfloat16=bfloat16)
    together, _ = found.outputs(squares)
    assert torch.equal(torch.cat([found.outputs(squares[i : i + 1])[0] for i in range(len(squares))]), together)
    assert torch.equal(found.outputs(squares[::-1].copy())[0].flip(0), together)


def test_a_run_is_converted_once_and_again_when_the_copy_was_altered(
    run: Path, squares: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was converted is taken from the run folder while its hash holds, and only for the same weights."""
    first = Predictor.load(run, "cpu", "openvino").logits(squares)
    converted: list[object] = []
    export = torch.export.export

    def counted(model: torch.nn.Module, given: tuple[torch.Tensor]) -> object:
        converted.append(model)
        return export(model, given)

    monkeypatch.setattr(torch.export, "export", counted)
    assert torch.equal(Predictor.load(run, "cpu", "openvino").logits(squares), first)
    assert not converted
    copy = run / serve.FOLDER / "model.bin"
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 64
    copy.write_bytes(data)
    assert torch.equal(Predictor.load(run, "cpu", "openvino").logits(squares), first)
    assert len(converted) == 1
    assert sorted(path.name for path in copy.parent.iterdir()) == ["model.bin", "model.xml", "record.json"]


def test_unasked_a_run_is_converted_only_for_many_pictures(run: Path, tmp_path: Path) -> None:
    """One picture must not wait for a conversion; once it was made, every answer comes from it."""
    fresh = tmp_path / "run"
    fresh.mkdir()
    for name in ("run.json", "model.safetensors"):
        (fresh / name).write_bytes((run / name).read_bytes())
    assert Predictor.load(fresh, "cpu").backend == "torch"
    assert Predictor.load(fresh, "cpu", pictures=1000).backend == "openvino"
    assert Predictor.load(fresh, "cpu").backend == "openvino"
    assert Predictor.load(fresh, "cpu", "torch").backend == "torch"


def test_when_openvino_answers_otherwise_pytorch_does(
    run: Path, squares: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, with the difference; who insists on OpenVINO is stopped instead."""
    right = serve.OpenVino.outputs

    def wrong(self: serve.OpenVino, pixels: Pixels) -> tuple[torch.Tensor, torch.Tensor]:
        logits, features = right(self, pixels)
        return logits + torch.tensor([5.0, 0.0]), features

    monkeypatch.setattr(serve.OpenVino, "outputs", wrong)
    said: list[str] = []
    found = Predictor.load(run, "cpu", pictures=1000, say=said.append)
    assert found.backend == "torch"
    assert torch.equal(found.logits(squares), Predictor.load(run, "cpu", "torch").logits(squares))
    assert [re.sub(r"\d\.\d+", "#", line) for line in said] == [
        "OpenVINO's probabilities differ from PyTorch's by #, more than #; --backend torch answers"
    ]
    with pytest.raises(WeightsError, match="differ from PyTorch's"):
        Predictor.load(run, "cpu", "openvino")


def test_a_network_that_openvino_cannot_take_is_told_in_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library says at length becomes a line and what to do."""

    def refuse(*_: object) -> None:
        raise RuntimeError("Check 'something' failed\nat a place in its source")

    monkeypatch.setattr(serve, "_kept", refuse)
    with pytest.raises(
        WeightsError, match=r"^OpenVINO cannot .* \(Check 'something' failed\); --backend torch answers$"
    ):
        Predictor.load(run, "cpu", "openvino")


def test_a_run_folder_that_cannot_be_written_to_is_converted_all_the_same(
    run: Path, tmp_path: Path, squares: Pixels
) -> None:
    """Without keeping it."""
    fresh = tmp_path / "run"
    fresh.mkdir()
    for name in ("run.json", "model.safetensors"):
        (fresh / name).write_bytes((run / name).read_bytes())
    (fresh / serve.FOLDER).write_text("a file where the folder should be")
    found = Predictor.load(fresh, "cpu", "openvino")
    assert torch.equal(found.logits(squares), Predictor.load(run, "cpu", "openvino").logits(squares))


def test_a_backend_that_is_not_there_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names there are, and never with another device than the one asked for."""
    with pytest.raises(WeightsError, match="no backend 'tensorrt'; there is auto, torch, openvino"):
        Predictor.load(run, "cpu", "tensorrt")
    monkeypatch.setattr(network, "place", lambda model, _: model)
    monkeypatch.setattr(network, "pick_device", lambda _: torch.device("meta"))
    with pytest.raises(WeightsError, match="OpenVINO computes on the CPU, not on meta"):
        Predictor.load(run, "meta", "openvino")


def test_openvino_is_kept_from_calling_home() -> None:
    """Its package for that is not even imported; somebody else's import of it still works."""
    code = """
import sys
from trainer import serve
library = serve._openvino()
assert "openvino_telemetry" not in sys.modules
from openvino.tools.ovc import convert_impl
print(convert_impl.tm.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], env=clean_env(), capture_output=True, text=True, check=True)
    assert done.stdout == "openvino.tools.ovc.telemetry_stub\n"


@pytest.mark.parametrize("missing", ["openvino", "onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_one_line_says_what_to_install(
    run: Path, squares: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Asked for, it is an error; nothing half-made is left."""
    monkeypatch.setitem(sys.modules, missing, None)
    asked: Callable[[], object] = partial(export_onnx, run, tmp_path / "model.onnx", squares)
    if missing == "openvino":
        asked = partial(Predictor.load, run, "cpu", "openvino")
    with pytest.raises(WeightsError, match=r"pip install 'curate\[serve\]'"):
        asked()
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_pytorch_answers_unasked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is said: nobody asked for anything else."""
    said: list[str] = []
    monkeypatch.setattr(serve, "installed", lambda: False)
    assert Predictor.load(run, "cpu", pictures=1000, say=said.append).backend == "torch"
    assert said == []


def test_a_stranger_serves_the_file_in_three_lines(run: Path, tmp_path: Path) -> None:
    """Pixels in, calibrated probabilities out, the same as ours, with nothing of ours installed."""
    file = tmp_path / "model.onnx"
    pictures = sorted((run.parent / "images").glob("*.jpg"))
    export_onnx(run, file, np.stack([square(path.read_bytes(), 37) for path in pictures[:3]]))
    ours = list(Predictor.load(run, "cpu", "torch").stream(path.read_bytes for path in pictures))

    session = onnxruntime.InferenceSession(file)
    shrunk = (Image.open(path).convert("RGB").resize((37, 37), Image.Resampling.BILINEAR) for path in pictures)
    pixels: Pixels = np.stack([np.asarray(image) for image in shrunk])
    (found,) = session.run(["probabilities"], {"pixels": pixels})

    assert np.allclose(found, [answer.probabilities for answer in ours if not isinstance(answer, Exception)], atol=0.01)
    facts = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    known = Predictor.load(run, "cpu", "torch")
    assert facts["classes"] == list(known.classes)
    assert (facts["side"], facts["size"]) == (37, 32)
    assert (facts["temperature"], facts["outside_below"]) == (known.temperature, known.outside_below)
    record = json.loads((tmp_path / "model.onnx.json").read_text())
    assert record["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record.items() >= facts.items()


def test_an_onnx_file_names_no_path_of_this_machine(run: Path, squares: Pixels, tmp_path: Path) -> None:
    """The exporter notes for each operator the line of source it came from; that is taken out."""
    export_onnx(run, tmp_path / "model.onnx", squares)
    model = onnx.load(tmp_path / "model.onnx")
    text = str(model.graph.node) + str(model.functions) + str(model.graph.metadata_props)
    assert ".py" not in text
    assert str(Path(torch.__file__).parent) not in (tmp_path / "model.onnx").read_bytes().decode("latin-1")


def test_an_onnx_file_that_answers_otherwise_is_not_written(
    run: Path, squares: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever made it so: the check is on the bytes that would be written."""

    def exported(predictor: Predictor, side: int) -> object:
        damaged = deepcopy(predictor.model)
        list(damaged.parameters())[-1].data[0] += 3  # the first class's bias
        return export(replace(predictor, model=damaged), side)

    export = onnx_export._exported
    monkeypatch.setattr(onnx_export, "_exported", exported)
    with pytest.raises(WeightsError, match=r"differ from PyTorch's by .* it was not written"):
        export_onnx(run, tmp_path / "model.onnx", squares)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arch", "head"), [("mobilenet_v3_small", "dense"), ("resnet18", "flat")])
def test_other_networks_serve_too(tmp_path: Path, arch: str, head: str) -> None:
    """Depthwise convolutions, and one layer over the last feature map: by OpenVINO and as ONNX."""
    chosen = options(arch=arch, epochs=1, recipe=replace(load("fast"), head=head))
    train(make_manifest(tmp_path / "images"), chosen, tmp_path / "run", tmp_path / "cache")
    pixels = np.random.default_rng(1).integers(0, 256, (4, 37, 37, 3), np.uint8)
    assert export_onnx(tmp_path / "run", tmp_path / "model.onnx", pixels).largest_difference < 1e-4
    expected = Predictor.load(tmp_path / "run", "cpu", "torch")
    found = serve.open_converted(tmp_path / "run", expected.model, 32, "weights", bfloat16=False)
    for ours, theirs in zip(found.outputs(pixels), expected.outputs(pixels), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=0.01)


@pytest.fixture
def trained(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project with a finished run."""
    settings = {"arch": '"squeezenet1_1"', "init": '"none"', "size": "32", "epochs": "1", "device": '"cpu"'}
    more = {"dataset__validation": "2", "dataset__target": "6"}
    found = make_project("Red", "Green", **{f"train__{key}": value for key, value in settings.items()}, **more)
    write_folder(tmp_path / "in", {"Red": range(6), "Green": range(6)})
    import_folder(found, tmp_path / "in", labels=True)
    split(found)
    train_run(found, options_from(found))
    return found


def test_a_list_of_paths_comes_in_on_stdin(trained: Project, tmp_path: Path) -> None:
    """`-` and `--from -` read it; paths are given back as they came, in their order, after those named before."""
    new = write_folder(tmp_path / "new", {"a": range(50, 53)})
    files = sorted(str(path) for path in new.glob("a/*"))
    lines = f"{files[1]}\r\n\n{files[0]}\n".encode()

    def asked(*arguments: str, given: bytes) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "curate", "predict", *arguments, "--project", str(trained.root), "--json"]
        return subprocess.run(command, input=given, env=clean_env(), capture_output=True, check=False)

    done = json.loads(asked(files[2], "-", "--backend", "torch", given=lines).stdout)
    assert [found["path"] for found in done["predictions"]] == [files[2], files[1], files[0]]
    assert done["backend"] == "torch"
    by_option = json.loads(asked("--from", "-", given=lines).stdout)
    assert by_option["predictions"] == done["predictions"][1:]
    nothing, letters = asked("-", given=b"\n"), asked("-", given=b"\xff\xfe")
    assert (nothing.returncode, letters.returncode) == (2, 2)
    assert b"which pictures?" in nothing.stderr
    assert b"the list on stdin is no UTF-8" in letters.stderr


def test_a_model_is_exported_by_the_command_line(trained: Project, cli: Cli, tmp_path: Path) -> None:
    """Checked on the project's own validation images; a name or folder that cannot be is refused before any work."""
    file = tmp_path / "guitars.onnx"
    found = cli("export-model", file, "--project", trained.root, "--json", check=True).json
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found["file"] == str(file)
    assert found["checked"] == 4
    assert found["largest_difference"] < 1e-4
    assert found["classes"] == ["Red", "Green"]
    for wrong, said in (("model.pt", "does not end in .onnx"), ("nowhere/model.onnx", "no folder")):
        done = cli("export-model", tmp_path / wrong, "--project", trained.root)
        assert done.code == 2
        assert said in done.err


def test_pictures_waiting_for_a_label_are_answered_by_openvino_when_they_are_many(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pre-labelling says how many pictures wait, and passes on what the predictor says."""
    write_folder(tmp_path / "new", {"a": range(60, 64)})
    import_folder(trained, tmp_path / "new", labels=False)
    said: list[str] = []

    class Heard(Quiet):
        def say(self, message: str) -> None:
            said.append(message)

    def refuse(*_: object, **__: object) -> ModuleType:
        raise WeightsError("OpenVINO is asked")

    monkeypatch.setattr(predict, "_WORTH_CONVERTING", 4)
    monkeypatch.setattr(serve, "open_converted", refuse)
    assert predict_unlabelled(trained, progress=Heard()).predicted == 4
    assert said == ["OpenVINO is asked"]


def test_of_many_pictures_only_two_batches_are_held(run: Path) -> None:
    """Sources are opened as answers are taken, not before: a list of any length fits in memory."""
    opened: list[int] = []
    data = (run.parent / "images" / "0-0.jpg").read_bytes()

    def source(number: int) -> Callable[[], bytes]:
        def read() -> bytes:
            opened.append(number)
            return data

        return read

    answers = Predictor.load(run, "cpu", "torch").stream(source(number) for number in range(1000))
    for taken in range(1, 101):
        next(answers)
        assert max(opened) < taken + 2 * predict._BATCH
