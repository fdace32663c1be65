"""SIGKILL at every durable boundary, and at any moment: run again, a command ends as if it had never been killed."""

import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select

from curate.crawl.line import MOST_OF_A_HOST
from curate.doctor import examine
from curate.ingest.folder import import_folder
from curate.project import Project, create, open_project
from curate.split import split
from db.engine import Database
from db.models import (
    Annotation,
    AnnotationRevision,
    Candidate,
    CandidateState,
    Class,
    DuplicatePair,
    Image,
    Label,
    Sighting,
    Snapshot,
)
from tests.conftest import CLASSES, Cli
from tests.environment import clean_env
from tests.pictures import encoded, jpeg, picture, write_folder
from tests.web import Web

FILES = ("file.written", "file.synced", "file.renamed")
COMMITS = ("commit.before", "commit.after")
KILLED = -9


def content(root: Path) -> dict[str, object]:
    """All that a project holds, by content: neither ids nor times, which a second run may give anew."""
    project = open_project(root)
    assert examine(project, repair=False) == []
    with project.database.read() as session:
        images = session.execute(select(Image.sha256, Image.state, Image.is_keeper)).all()
        columns = (Candidate.address, Candidate.state, Candidate.reason, Candidate.owner)
        candidates = session.execute(select(*columns)).all()
        sightings = session.execute(
            select(Candidate.address, Sighting.source, Sighting.query, Image.sha256)
            .join(Candidate, Candidate.id == Sighting.candidate_id)
            .outerjoin(Image, Image.id == Sighting.image_id)
        ).all()
        labels = session.execute(
            select(Image.sha256, Class.name)
            .select_from(Label)
            .join(Image, Image.id == Label.image_id)
            .join(Class, Class.id == Label.class_id)
        ).all()
        counted = (Annotation, AnnotationRevision, DuplicatePair)
        found = {
            "images": sorted(map(tuple, images)),
            "candidates": sorted((tuple(row) for row in candidates), key=str),
            "sightings": sorted((tuple(row) for row in sightings), key=str),
            "labels": sorted(map(tuple, labels)),
            "snapshots": session.scalars(select(Snapshot.content_sha256).order_by(Snapshot.id)).all(),
            "rows": [session.scalar(select(func.count()).select_from(table)) for table in counted],
        }
    project.database.close()
    files = (path for path in (root / "images").rglob("*") if path.is_file())
    return found | {"files": sorted(path.relative_to(root).as_posix() for path in files)}


def pair(make_project: Callable[..., Project], **settings: str) -> tuple[Path, Path]:
    """Two projects alike: one to be killed in, one to compare with."""
    made = [make_project(name=name, **settings) for name in ("killed", "spared")]
    for project in made:
        project.database.close()
    return made[0].root, made[1].root


@pytest.fixture(scope="module")
def import_spared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A folder, and what a project holds after importing it in peace.

    It has more pictures than one transaction takes, a copy and a broken one among them.
    """
    place = tmp_path_factory.mktemp("spared")
    folder = write_folder(place / "in", {"Red": range(40), "Green": range(28)}, (20, 20))
    (folder / "Green" / "copy.jpg").write_bytes((folder / "Green" / "3.jpg").read_bytes())
    (folder / "Red" / "broken.jpg").write_bytes(jpeg(1)[:400])
    project = create(place / "project", None, CLASSES)
    import_folder(project, folder, labels=True)
    project.database.close()
    return folder, content(project.root)


@pytest.mark.xdist_group("import")
@pytest.mark.parametrize(
    "fault", [*(f"{point}:66" for point in FILES), "images.stored", "images.stored:2", *COMMITS, "commit.after:2"]
)
def test_a_killed_import_is_gone_on_with(
    cli: Cli, project: Project, import_spared: tuple[Path, dict[str, object]], fault: str
) -> None:
    """Whichever file or transaction it died at, the second run leaves what one run would have left."""
    folder, expected = import_spared
    project.database.close()
    command = ("import", folder, "--labels", "folder")
    assert cli(*command, cwd=project.root, env={"CURATE_FAULT": fault}).code == KILLED
    assert cli(*command, cwd=project.root).code == 1
    assert content(project.root) == expected


@pytest.mark.parametrize("point", COMMITS)
@pytest.mark.parametrize("command", [["dedup"], ["split"]])
def test_a_killed_stage_is_gone_on_with(
    cli: Cli, make_project: Callable[..., Project], tmp_path: Path, command: list[str], point: str
) -> None:
    """Groups and snapshots are there once, whole or not at all."""
    root, spared = pair(make_project)
    folder = write_folder(tmp_path / "in", {"Red": range(4), "Green": range(4)})
    (folder / "Red" / "a.jpg").write_bytes(jpeg(900))
    (folder / "Red" / "b.jpg").write_bytes(encoded(picture(900), quality=80))
    for place in (root, spared):
        project = open_project(place)
        import_folder(project, folder, labels=True)
        project.database.close()
    assert cli(*command, cwd=root, env={"CURATE_FAULT": point}).code == KILLED
    for place in (root, spared):
        assert cli(*command, cwd=place).code in {0, 1}
    assert content(root) == content(spared)


@pytest.mark.parametrize("point", ["file.written", "file.synced", "file.renamed"])
@pytest.mark.parametrize(
    ("layout", "time"), [("imagefolder", 1), ("imagefolder", 3), ("parquet", 2), ("webdataset", 3)]
)
def test_a_killed_export_is_gone_on_with(
    cli: Cli, project: Project, tmp_path: Path, point: str, layout: str, time: int
) -> None:
    """The folder can be exported into again, and then holds the split and nothing else."""
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(4)}), labels=True)
    split(project)
    project.database.close()
    out = tmp_path / "out"
    command = ("export", layout, out, "--json")
    assert cli(*command, cwd=project.root, env={"CURATE_FAULT": f"{point}:{time}"}).code == KILLED
    found = cli(*command, cwd=project.root, check=True).json
    files = [path.name for path in out.rglob("*") if path.is_file()]
    assert len(files) == found["files"] + 1
    assert not any(name.startswith(".curate-tmp") for name in files)


@pytest.mark.parametrize("point", ["migration.before_commit", "file.written", "file.synced", "file.renamed"])
def test_a_killed_init_is_gone_on_with(cli: Cli, tmp_path: Path, point: str) -> None:
    """A project is there whole, or can be made in the same folder."""
    command = ("init", "new", "--classes", "A,B")
    assert cli(*command, env={"CURATE_FAULT": point}).code == KILLED
    if point != "file.renamed":
        assert cli("status", cwd=tmp_path / "new").code == 2
        assert cli(*command).code == 0
    assert cli("status", "--json", cwd=tmp_path / "new", check=True).json["images"] == 0
    assert cli("doctor", "--repair", cwd=tmp_path / "new").code == 0
    assert cli("doctor", "--json", cwd=tmp_path / "new", check=True).json == {"problems": []}


def decided(root: Path, copy: Path) -> set[str]:
    """Paths on record as decided; read from a copy, so that what a kill left is the next run's to recover."""
    copy.mkdir()
    for path in root.glob("curate.db*"):
        if not path.name.endswith("-shm"):  # SQLite makes it anew from the log
            shutil.copy(path, copy)
    database = Database(copy / "curate.db")
    with database.read() as session:
        waiting = (CandidateState.PENDING, CandidateState.CLAIMED)
        addresses = session.scalars(select(Candidate.address).where(Candidate.state.not_in(waiting))).all()
    database.close()
    return {urlsplit(address).path for address in addresses}


def let_run(process: subprocess.Popen[bytes], sign: Callable[[], int], seconds: float) -> None:
    """Wait until a command has given another sign of life, and for so long after it; or until it has ended."""
    before = sign()
    while process.poll() is None and sign() == before:
        time.sleep(0.005)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def crawl_with_kills(root: Path, spared: Path, web: Web, listed: Path, seed: int, most: int) -> int:
    """Kill a crawl up to `most` times at random moments, let it end, compare, and give the number of kills."""
    rng = random.Random(seed)  # noqa: S311 - moments, no secrets
    paths = [f"/{seed}/{n}.jpg" for n in range(40)]
    listed.write_text("\n".join(web.put(path, jpeg(n), delay=0.03) for n, path in enumerate(paths)))
    command = [sys.executable, "-m", "curate", "crawl", "red", "--source", f"urls={listed}"]
    # Moments from the start alone would all be in the imports, which take seconds on a slow machine.
    moments: list[tuple[Callable[[], int], float, float]] = [
        (lambda: sum(path.is_file() for path in (root / "images").rglob("*")), 0.0, 0.4),
        (web.asked.total, 0.0, 0.6),
        (time.monotonic_ns, 0.7, 1.6),
    ]
    kills = 0
    settled: dict[str, int] = {}
    while True:
        with subprocess.Popen(command, cwd=root, env=clean_env(), stderr=subprocess.DEVNULL) as process:
            if kills < most:
                sign, least, longest = moments[kills % len(moments)]
                let_run(process, sign, rng.uniform(least, longest))
                process.kill()
        if process.returncode != KILLED:
            break
        kills += 1
        # A decision follows its answer, so what the server counts of these is all that it will ever be asked.
        settled = {path: web.asked[path] for path in decided(root, listed.with_name(f"kill-{kills}"))} | settled
    assert process.returncode == 0
    assert {path: web.asked[path] for path in settled} == settled, "what is on record was fetched again"
    fetched = sum(web.asked[path] for path in paths)
    # `concurrency` and `per_host` hold requests back only while they are on the wire: behind them files queue for
    # decoders, and for a commit as slow as the disk. Claims are what ends that queue: a host has no more of them at a
    # time, and each gives its place back after the commit, however slow the machine is.
    assert len(paths) <= fetched <= len(paths) + MOST_OF_A_HOST * kills
    subprocess.run(command, cwd=spared, env=clean_env(), check=True, capture_output=True)
    assert content(root) == content(spared)
    return kills


def test_a_crawl_killed_at_any_moment_ends_whole(
    make_project: Callable[..., Project], web: Web, tmp_path: Path
) -> None:
    """However often it dies, nothing is lost, nothing doubled, and nothing on record fetched again."""
    root, spared = pair(make_project, crawl__allow_private_addresses="true")
    assert crawl_with_kills(root, spared, web, tmp_path / "urls.txt", 1, most=4) >= 1


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 52))
def test_crawls_killed_at_many_moments_end_whole(
    make_project: Callable[..., Project], web: Web, tmp_path: Path, seed: int
) -> None:
    """As the short form, at other moments each time."""
    root, spared = pair(make_project, crawl__allow_private_addresses="true")
    crawl_with_kills(root, spared, web, tmp_path / "urls.txt", seed, most=20)
