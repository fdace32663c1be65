"""`trainer.run`: from a manifest to a run folder, through everything that can go wrong on the way."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.learning import make_manifest, options
from trainer.checkpoint import latest
from trainer.errors import DivergedError, ManifestError, TrainerError, WeightsError
from trainer.evaluate import Score
from trainer.manifest import TRAIN, VALIDATION, Item, Manifest
from trainer.options import TrainOptions
from trainer.predict import Predictor, read_run, read_validation
from trainer.recipes import FAST
from trainer.run import train
from trainer.watch import Silent

KILLED_AFTER = 2


class Heard(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.epochs: list[dict[str, Any]] = []

    def say(self, message: str) -> None:
        """Keep the line."""
        self.lines.append(message)

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Keep the line of metrics."""
        self.epochs.append(metrics)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_manifest(tmp_path / "pictures")


def test_a_run_learns_and_leaves_all_that_answering_needs(manifest: Manifest, tmp_path: Path) -> None:
    """Tinted pictures are told apart; the folder holds weights, record, metrics and manifest, and no checkpoint."""
    heard = Heard()
    result = train(manifest, options(arch="resnet18", epochs=8), tmp_path / "run", tmp_path / "cache", heard)
    assert result.validation_accuracy == 1.0
    assert (result.validation_images, len(heard.epochs)) == (6, result.epochs)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "manifest.csv",
        "metrics.jsonl",
        "model.safetensors",
        "run.json",
        "validation.safetensors",
    ]
    predictor = Predictor.load(tmp_path / "run", "cpu")
    held_out = manifest.side(VALIDATION)
    answers = list(predictor.stream(item.path.read_bytes for item in held_out))
    assert [answer.label for answer in answers if not isinstance(answer, Exception)] == [i.label for i in held_out]


def test_the_same_seed_gives_the_same_weights_and_another_one_others(manifest: Manifest, tmp_path: Path) -> None:
    """A run is a function of images, options and seed, bit for bit on the CPU."""
    hashes = [
        train(manifest, options(seed=seed), tmp_path / name, tmp_path / "cache").weights_sha256
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.learning import make_manifest, options
from trainer.run import train
from trainer.watch import Silent

class Killer(Silent):
    saved_checkpoints = 0
    def advance(self, images):
        if self.saved_checkpoints == {after}:
            os.kill(os.getpid(), signal.SIGKILL)  # in the middle of the epoch after
    def saved(self, what):
        self.saved_checkpoints += 1

root = Path(sys.argv[1])
manifest = make_manifest(root / "pictures")
train(manifest, options(arch={arch!r}, epochs=5), root / "killed", root / "cache", Killer(), checkpoint_seconds=0)
"""


@pytest.mark.parametrize("arch", ["squeezenet1_1", "mobilenet_v3_small"])
def test_a_run_killed_in_an_epoch_and_resumed_equals_one_that_was_not(
    arch: str, manifest: Manifest, tmp_path: Path
) -> None:
    """After kill -9 the same call ends in the same bits, with dropout, batch norms and the running mean among them."""
    code = _KILLED.format(after=KILLED_AFTER, arch=arch)
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    heard = Heard()
    wanted = options(arch=arch, epochs=5)
    resumed = train(manifest, wanted, tmp_path / "killed", tmp_path / "cache", heard, checkpoint_seconds=0)
    whole = train(manifest, wanted, tmp_path / "whole", tmp_path / "cache")
    assert heard.lines[0] == f"going on after epoch {KILLED_AFTER}"
    assert resumed.weights_sha256 == whole.weights_sha256
    lines = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("killed", "whole")]
    killed_losses, whole_losses = ([json.loads(line)["train_loss"] for line in found] for found in lines)
    assert killed_losses == whole_losses


class Interrupted(Silent):
    """Breaks off when a checkpoint has been written."""

    def __init__(self, after: int) -> None:
        self.left = after

    def saved(self, what: str) -> None:  # noqa: ARG002 - the watcher's signature
        """Count down."""
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def interrupted(manifest: Manifest, folder: Path, cache: Path, after: int = 2) -> TrainOptions:
    """A run broken off after some checkpoints."""
    wanted = options(epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train(manifest, wanted, folder, cache, Interrupted(after), checkpoint_seconds=0)
    return wanted


@pytest.mark.parametrize("damage", ["empty", "truncated", "bit flipped", "gone"])
def test_a_damaged_checkpoint_is_left_out_for_the_one_before(damage: str, manifest: Manifest, tmp_path: Path) -> None:
    """Its SHA-256 tells; the run says so aloud and still ends like an uninterrupted one."""
    wanted = interrupted(manifest, tmp_path / "run", tmp_path / "cache")
    newest = max((tmp_path / "run" / "checkpoints").glob("*.safetensors"))
    data = bytearray(newest.read_bytes())
    if damage == "bit flipped":
        data[-100] ^= 4
    newest.write_bytes({"empty": b"", "truncated": bytes(data[:-7])}.get(damage, bytes(data)))
    if damage == "gone":
        newest.unlink()
    heard = Heard()
    resumed = train(manifest, wanted, tmp_path / "run", tmp_path / "cache", heard)
    assert "left out a damaged checkpoint" in heard.lines[0]
    assert newest.name in heard.lines[0]
    assert heard.lines[1] == "going on after epoch 1"
    assert resumed.weights_sha256 == train(manifest, wanted, tmp_path / "b", tmp_path / "cache").weights_sha256


def test_a_checkpoint_of_other_classes_or_images_is_refused_naming_both(manifest: Manifest, tmp_path: Path) -> None:
    """Nothing is trained on top of what was learned for something else."""
    wanted = interrupted(manifest, tmp_path / "run", tmp_path / "cache")
    other = Manifest(("Red", "Blue"), manifest.items)
    with pytest.raises(TrainerError, match=r"classes \['Red', 'Green'\], not \['Red', 'Blue'\]"):
        train(other, wanted, tmp_path / "run", tmp_path / "cache")
    with pytest.raises(TrainerError, match=r"options .*'arch': 'squeezenet1_1'.* not .*'arch': 'squeezenet1_0'"):
        train(manifest, replace(wanted, arch="squeezenet1_0"), tmp_path / "run", tmp_path / "cache")


def test_a_loss_that_is_no_number_stops_before_the_step(manifest: Manifest, tmp_path: Path) -> None:
    """The last good checkpoint stays whole and finite."""
    wild = options(epochs=6, recipe=replace(FAST, head_learning_rate=1e30, warm_up=0.9))
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf)"):
        train(manifest, wild, tmp_path / "run", tmp_path / "cache", checkpoint_seconds=0)
    found, problems = latest(tmp_path / "run" / "checkpoints")
    assert not problems
    for tensor in found.group("network").values() if found else ():
        assert torch.isfinite(tensor).all()
    assert not (tmp_path / "run" / "run.json").exists()


def test_one_class_and_nothing_held_out_are_refused_before_the_first_epoch(manifest: Manifest, tmp_path: Path) -> None:
    """The message names what is there and what to do."""
    cases = {
        "there are only Red": [item for item in manifest.items if item.label == 0],
        "no image is held out": manifest.side(TRAIN),
        "there are only no class": [],
    }
    for message, items in cases.items():
        with pytest.raises(ManifestError, match=message):
            train(Manifest(manifest.classes, tuple(items)), options(), tmp_path / "run", tmp_path / "cache")
    assert not (tmp_path / "run").exists()


def test_a_class_without_images_and_a_last_batch_of_one_are_no_obstacle(tmp_path: Path) -> None:
    """Three classes of which one is empty, and a number of images that leaves one over after full batches."""
    full = make_manifest(tmp_path / "pictures", train=9, held=2)
    manifest = Manifest((*full.classes, "Blue"), tuple(i for i in full.items if i.id != "Red0"))
    assert len(manifest.side(TRAIN)) % 2 == 1
    result = train(manifest, options(arch="resnet18"), tmp_path / "run", tmp_path / "cache")
    assert len(read_run(tmp_path / "run")["classes"]) == 3
    assert result.epochs == 2


@pytest.mark.parametrize("fault", ["altered", "gone"])
def test_an_image_altered_or_gone_stops_training_by_its_id(fault: str, manifest: Manifest, tmp_path: Path) -> None:
    """No run starts on other pictures than its manifest names, and none takes their place."""
    victim = manifest.side(TRAIN)[3]
    if fault == "gone":
        victim.path.unlink()
    else:
        victim.path.write_bytes(victim.path.read_bytes() + b"x")
    with pytest.raises(ManifestError, match=f"image {victim.id} .*curate doctor"):
        train(manifest, options(), tmp_path / "run", tmp_path / "cache")


def test_a_file_that_is_no_image_stops_training_by_its_id(manifest: Manifest, tmp_path: Path) -> None:
    """Bytes whose hash is right but which no decoder reads are named, not replaced."""
    path = tmp_path / "text.jpg"
    path.write_bytes(b"not an image")
    odd = Item("odd7", path, hashlib.sha256(b"not an image").hexdigest(), 0, TRAIN)
    with pytest.raises(ManifestError, match="image odd7 cannot be read"):
        train(Manifest(manifest.classes, (*manifest.items, odd)), options(), tmp_path / "run", tmp_path / "cache")


def test_the_best_epoch_is_kept_not_the_last(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of the epoch that validated best answer later, and a run without progress ends after its patience."""
    scores = iter([0.5, 0.9, 0.7, 0.6, 0.8, 0.92])  # five epochs, and what was kept, now with mirror images

    def scored(_logits: torch.Tensor, _labels: torch.Tensor) -> Score:
        return Score(next(scores), 1.0)

    monkeypatch.setattr("trainer.run.score", scored)
    short = options(epochs=6, recipe=replace(FAST, patience=3))
    result = train(manifest, short, tmp_path / "run", tmp_path / "cache")
    assert (result.best_epoch, result.validation_accuracy, result.epochs) == (2, 0.92, 5)


def test_a_full_disk_stops_the_run_and_names_the_path(manifest: Manifest, tmp_path: Path) -> None:
    """A checkpoint that does not fit leaves no temporary file, and the run goes on once there is room."""
    code = (
        "import resource, sys; from pathlib import Path; from tests.learning import make_manifest, options;"
        "from trainer.run import train; from trainer.errors import TrainerError\n"
        "root = Path(sys.argv[1]); manifest = make_manifest(root / 'pictures')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try: train(manifest, options(epochs=3), root / 'run', root / 'cache', checkpoint_seconds=0)\n"
        "except TrainerError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True, env=os.environ
    )
    assert str(tmp_path / "run" / "checkpoints") in done.stdout
    assert "Make room there" in done.stdout
    assert not list((tmp_path / "run").rglob(".curate-tmp-*"))
    assert train(manifest, options(epochs=3), tmp_path / "run", tmp_path / "cache").epochs == 3


def test_saved_weights_are_the_ones_named_in_the_record(manifest: Manifest, tmp_path: Path) -> None:
    """`run.json` says the classes in order, and its hash is the file's."""
    result = train(manifest, options(), tmp_path / "run", tmp_path / "cache")
    record = read_run(tmp_path / "run")
    assert record["classes"] == ["Red", "Green"]
    assert record["weights_sha256"] == result.weights_sha256
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert all(np.isfinite(tensor.numpy()).all() for tensor in weights.values())


def test_what_a_run_answered_on_held_out_images_is_kept_and_checked(manifest: Manifest, tmp_path: Path) -> None:
    """Its outputs are named by the images' hashes and agree with its accuracy; altered ones are refused."""
    result = train(manifest, options(), tmp_path / "run", tmp_path / "cache")
    kept = read_validation(tmp_path / "run")
    held_out = {item.sha256: item.label for item in manifest.side(VALIDATION)}
    assert dict(zip(kept.sha256, kept.labels.tolist(), strict=True)) == held_out
    accuracy = (kept.logits.argmax(1) == kept.labels).double().mean().item()
    assert accuracy == pytest.approx(result.validation_accuracy)
    path = tmp_path / "run" / "validation.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="altered"):
        read_validation(tmp_path / "run")
