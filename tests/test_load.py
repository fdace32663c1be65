"""A crawl of many hosts, some troublesome, killed again and again: all accounted for, nothing lost or doubled."""

import contextlib
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from curate.doctor import examine
from curate.project import Project, open_project
from db.models import Candidate, Image, Sighting
from tests.environment import clean_env
from tests.manyhosts import DRIPPING, LIMITED, REDIRECTING, Served, serve
from tests.pictures import jpeg

KILLED = -9
CONCURRENCY, IN_HAND = 16, 32


@dataclass
class Watched:
    """What was seen of a crawl's processes from outside."""

    kills: int = 0
    most_memory: int = 0
    """Kilobytes of the crawl itself, its decoders left out."""


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project that waits for nobody for long."""
    project = make_project(crawl__deadline_seconds="2", crawl__attempts="2", crawl__concurrency=str(CONCURRENCY))
    project.database.close()
    return project


def crawl(root: Path, listed: Path, seed: int, kills: int, between: tuple[float, float]) -> Watched:
    """Run the command until it ends, killing it at random moments the first `kills` times."""
    rng = random.Random(seed)  # noqa: S311 - moments, no secrets
    watched = Watched()
    command = [sys.executable, "-m", "tests.publicloopback", "crawl", "--source", f"urls={listed}", "--json"]
    where = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    while True:
        with subprocess.Popen(
            [*command, "--project", root], env=clean_env() | where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            until = time.monotonic() + rng.uniform(*between) if watched.kills < kills else float("inf")
            while process.poll() is None and time.monotonic() < until:
                watched.most_memory = max(watched.most_memory, _memory(process.pid))
                time.sleep(0.05)
            process.kill()
        if process.returncode != KILLED:
            assert process.returncode == 1, "some addresses fail, and nothing else goes wrong"
            return watched
        watched.kills += 1


def _memory(pid: int) -> int:
    with contextlib.suppress(OSError):
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found.group(1)) if found else 0
    return 0


def check(root: Path, served: Served, number: int, kills: int) -> Counter[str]:
    """Check that every address ended as its host would have it; give how they ended."""
    project = open_project(root)
    assert examine(project, repair=False) == []
    with project.database.read() as session:
        rows = session.execute(select(Candidate.address, Candidate.state, Candidate.reason)).all()
        assert session.scalar(select(func.count()).select_from(Sighting)) == number
        images = session.scalar(select(func.count()).select_from(Image))
    project.database.close()
    assert len(rows) == number
    ended: Counter[str] = Counter()
    for address, state, reason in rows:
        ended[reason.value if reason else state.value] += 1
        assert (reason.value if reason else state.value) in expected(address)
    assert images == ended["stored"]
    stats = served.stats()
    assert max(stats["most"].values()) <= 2
    # What is on the wire at a kill, and fetched but not decided, is fetched again, and nothing else. (What a host that
    # drips or wants patience refuses is tried again anyway.)
    good = [times for url, times in stats["asked"].items() if url.split("/")[0] not in {DRIPPING, LIMITED}]
    assert sum(times - 1 for times in good) <= kills * (CONCURRENCY + IN_HAND)
    return ended


def expected(address: str) -> set[str]:
    """How an address may end."""
    host, number = re.findall(r"//([\d.]+):\d+/(\d+)", address)[0]
    if host == REDIRECTING:
        return {"blocked_address"}
    if host == DRIPPING:
        return {"timeout"}
    wrong = {7: "not_an_image", 8: "http_4xx"}.get(int(number) % 50, "stored")
    return {wrong, "rate_limited"} if host == LIMITED else {wrong}


@contextlib.contextmanager
def listed(tmp_path: Path, number: int, hosts: int, delay: float) -> Iterator[tuple[Served, Path]]:
    """Many hosts, and a list of what they have."""
    www = tmp_path / "www"
    www.mkdir()
    for seed in range(20):
        (www / f"{seed:02d}.jpg").write_bytes(jpeg(seed, (320, 240)))
    with serve(www, hosts, delay) as served:
        file = tmp_path / "urls.txt"
        file.write_text("\n".join(served.addresses(number)))
        yield served, file


def test_many_hosts_and_kills_lose_and_double_nothing(project: Project, tmp_path: Path) -> None:
    """One host is slow, one drips, one wants patience, one redirects into a private network; the crawl dies thrice."""
    with listed(tmp_path, 600, 12, 0.2) as (served, file):
        watched = crawl(project.root, file, 1, 3, (1.5, 3.0))
        ended = check(project.root, served, 600, watched.kills)
    assert watched.kills >= 1
    assert ended["blocked_address"] == ended["timeout"] == 50


@pytest.mark.soak
def test_twenty_thousand_candidates_on_fifty_hosts(project: Project, tmp_path: Path) -> None:
    """As the short form, at full size and with ten kills; memory does not grow with the list."""
    with listed(tmp_path, 20_000, 50, 1.0) as (served, file):
        watched = crawl(project.root, file, 2, 10, (5.0, 25.0))
        ended = check(project.root, served, 20_000, watched.kills)
    assert watched.kills == 10
    assert watched.most_memory < 250_000
    print(watched, dict(ended), resource.getrusage(resource.RUSAGE_CHILDREN))  # noqa: T201 - what it came to
