"""Push and pull with a Label Studio of one's own: seconds and memory, at the reference dataset's size and far beyond.

Images are rows without files: a local server is told where they lie, and nothing reads them. Answers are put into the
server's SQLite by a script, all in one transaction, as if people had given them: by its API, 3,250 take minutes.
"""

import hashlib
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from benchmarks.timing import figure
from curate import project as projects
from curate.edit import set_value
from curate.labelling import Labelling
from curate.studio import Environment
from db.batches import chunks
from db.models import Image, Prediction, Run, RunState, Snapshot
from labeler.config import choice_result
from tests import prepare
from tests.labelstudio import free_port

_SIZES = tuple(int(size) for size in os.environ.get("CURATE_BENCH_TASKS", "3250,50000").split(","))
_CLASSES = ("Red", "Green", "Blue")
_KB = 2**10


def run() -> Iterator[str]:
    """Yield what each step took at each size, and how it grew from the smallest size to the largest."""
    worked: dict[str, dict[int, float]] = {}
    for size in _SIZES:
        for step, took in _at(size):
            worked.setdefault(step, {})[size] = took.own + took.server
            yield figure(step, tasks=size, **asdict(took))
    least, most = min(_SIZES), max(_SIZES)
    if least != most:
        for step, by_size in worked.items():
            yield figure(f"{step}: growth", tasks=most / least, processor_seconds=by_size[most] / by_size[least])


@dataclass(frozen=True)
class _Took:
    """Seconds by the wall clock, and of processor time here and in the server; megabytes before a step and at most."""

    seconds: float
    own: float
    server: float
    before_mb: float
    peak_mb: float


def _at(size: int) -> Iterator[tuple[str, _Took]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        _fill(folder, size)
        project = projects.open_project(folder)
        desk = _desk(project)
        try:
            desk.start()
            yield "push, with pre-labels", _measured(folder, "push")
            yield "push, nothing new", _measured(folder, "push")
            _answer(desk.local.folder / "label_studio.sqlite3", size)
            yield "pull, all answered", _measured(folder, "pull")
            with project.database.write() as session:  # as if a minute had passed: an overlap is read twice
                session.connection().exec_driver_sql(
                    "UPDATE labelling_projects SET pulled_until = '2100-01-01 00:00:00'"
                )
            yield "pull, nothing new", _measured(folder, "pull")
        finally:
            desk.stop()
            project.database.close()


def _desk(project: projects.Project) -> Labelling:
    return Labelling(project, Environment(prepare.cache(), None))


def _fill(folder: Path, size: int) -> None:
    """Make a project of unlabelled images, and a run that has predicted them all."""
    projects.create(folder, None, _CLASSES).database.close()
    set_value(folder / "curate.toml", "label_studio.url", f"http://127.0.0.1:{free_port()}")
    project = projects.open_project(folder)
    with project.database.write() as session:
        for numbers in chunks(range(size), 5000):
            session.add_all(_image(number) for number in numbers)
            session.flush()
        snapshot = Snapshot(content_sha256="0" * 64, seed=1, target=2, validation=1, classes=list(_CLASSES))
        session.add(snapshot)
        session.flush()
        run = Run(
            name="run-1",
            snapshot_id=snapshot.id,
            state=RunState.FINISHED,
            arch="small",
            options={},
            classes=list(_CLASSES),
            validation_accuracy=0.5,
            validation_images=4,
        )
        session.add(run)
        session.flush()
        for numbers in chunks(range(size), 5000):
            session.add_all(_prediction(run.id, number) for number in numbers)
            session.flush()
    project.database.close()


def _image(number: int) -> Image:
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    return Image(id=number + 1, sha256=sha256, phash=number, width=9, height=9, format="JPEG", bytes=9, sharpness=1.0)


def _prediction(run_id: int, number: int) -> Prediction:
    score = (number * 7919 % 1000) / 1000
    return Prediction(
        run_id=run_id,
        image_id=number + 1,
        class_index=number % len(_CLASSES),
        score=score,
        outside=False,
        probabilities=[score, 1 - score, 0.0],
    )


def _answer(path: Path, size: int) -> None:
    """Answer every task in the server's own database."""
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    result = json.dumps(choice_result("Green"))
    with closing(sqlite3.connect(path, timeout=60)) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(task_completion)") if row[3] and not row[5]]
        values = {
            "result": f"'{result}'",
            "created_at": f"'{moment}'",
            "updated_at": f"'{moment}'",
            "was_cancelled": "0",
            "ground_truth": "0",
            "task_id": "task.id",
            "project_id": "task.project_id",
            "completed_by_id": "(SELECT MIN(id) FROM htx_user)",
            "lead_time": "1.5",
            "result_count": "1",
        }
        values |= {name: "0" for name in columns if name not in values}  # what else must not be empty
        into, chosen = ", ".join(values), ", ".join(values.values())
        made = database.execute(f"INSERT INTO task_completion ({into}) SELECT {chosen} FROM task").rowcount  # noqa: S608
        database.execute(f"UPDATE task SET updated_at = '{moment}', is_labeled = 1, total_annotations = 1")  # noqa: S608
        database.commit()
    if made != size:
        raise SystemExit(f"{made} answers for {size} tasks")


def _measured(folder: Path, step: str) -> _Took:
    """Take a step in a process of its own, once that has loaded what it needs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_take, folder, step).result()


def _take(folder: Path, step: str) -> _Took:
    project = projects.open_project(folder)
    desk = _desk(project)
    calls: dict[str, Callable[[], object]] = {"push": desk.push, "pull": desk.pull}
    desk.server().check()  # loads the SDK, a second
    server = desk.local.credentials().pid
    before = _megabytes("VmRSS")
    worked, served, started = time.process_time(), _worked(server), time.perf_counter()
    calls[step]()
    seconds = time.perf_counter() - started
    own, theirs = time.process_time() - worked, _worked(server) - served
    project.database.close()
    return _Took(seconds, own, theirs, before, _megabytes("VmHWM"))


def _worked(pid: int | None) -> float:
    """Processor time of another process: a shared machine is never idle."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _megabytes(what: str) -> float:
    """Memory of this process. `ru_maxrss` would be that of whoever started it, if that is more."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(line[1]) for line in lines if line[0] == f"{what}:") / _KB
