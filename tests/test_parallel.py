"""`trainer.parallel`: processes that `torchrun` starts, learning as one; on the CPU, by gloo over loopback."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import split
from db.models import Run, RunState
from tests.environment import clean_env
from tests.learning import options
from tests.pictures import write_folder
from trainer.batches import batches
from trainer.parallel import Crew

_LEARN = """
import os
import sys
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
from tests.learning import make_manifest, options
from tests.test_augment import STILL
from trainer import network
from trainer.run import train

def build(*_):
    features = nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*features, nn.Linear(4, 2))

network.build = build  # no dropout, no batch norms: any number of processes must come to the same
torch.set_num_threads(1)
root = Path(sys.argv[1])
recipe = replace(STILL, batch_size=8, mixup=0.0, cutmix=0.0, first_size=1.0, last_size=1.0)
manifest = make_manifest(root / f"pictures{os.environ.get('RANK', '')}", train=9)
result = train(manifest, options(epochs=3, recipe=recipe), root / sys.argv[2], root / "cache")
(root / f"{sys.argv[2]}-{os.environ.get('RANK', 0)}.told").write_text(result.weights_sha256)
"""


def torchrun(processes: int, *command: object) -> subprocess.CompletedProcess[str]:
    """Start a command in several processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = clean_env() | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launch, "--no-python", *map(str, command)], check=False, env=environment, capture_output=True, text=True
    )


def test_slices_of_a_batch_are_all_of_it_and_none_twice() -> None:
    """And as many in each process, but for one."""
    (rows,) = batches(7, options(), 0, 1)
    slices = [Crew(rank, 3).own(rows) for rank in range(3)]
    assert sorted(torch.cat(slices).tolist()) == list(range(7))
    assert [len(own) for own in slices] == [3, 2, 2]


@pytest.mark.long
def test_two_processes_come_to_what_one_comes_to(tmp_path: Path) -> None:
    """The same seed goes through the same batches: where nothing else is random the weights are the same."""
    done = torchrun(2, sys.executable, "-c", _LEARN, tmp_path, "two")
    assert done.returncode == 0, done.stderr
    # By files: what two processes print may come in one line.
    told = [path.read_text() for path in sorted(tmp_path.glob("two-*.told"))]
    assert len(told) == 2
    assert told[0] == told[1]
    subprocess.run([sys.executable, "-c", _LEARN, str(tmp_path), "one"], check=True, env=clean_env())
    one, two = (load_file(tmp_path / run / "model.safetensors") for run in ("one", "two"))
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], atol=1e-3), name
    losses = [
        [json.loads(line)["train_loss"] for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


@pytest.mark.long
def test_the_command_under_torchrun_is_one_run_told_once(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """One JSON object, one row, one run folder, from two processes."""
    settings = {"train__arch": '"squeezenet1_1"', "train__init": '"none"', "train__size": "32", "train__epochs": "1"}
    project = make_project("Red", "Green", **settings, dataset__validation="2", dataset__target="10")
    write_folder(tmp_path / "in", {name: range(10) for name in ("Red", "Green")})
    import_folder(project, tmp_path / "in", labels=True)
    split(project)
    curate = [sys.executable, "-m", "curate"]
    done = torchrun(2, *curate, "train", "--device", "cpu", "--project", project.root, "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    with project.database.read() as session:
        (run,) = session.query(Run).all()
    assert json.loads(line)["run"] == run.name
    assert run.state is RunState.FINISHED
    assert [path.name for path in project.runs.iterdir()] == [run.name]
