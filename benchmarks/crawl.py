"""A whole crawl with ingest, beside icrawler's downloader followed by a loop of imagehash over its files.

Both fetch the same pictures from the same server and hash them with the same number of processes. Ours also decodes
each picture whole, checks it, measures its quality, obeys robots.txt, writes a database, and syncs all of it to the
disk; icrawler stops where a file is written.

Our own work is all of our processor time, the start of the decoding processes included, less what decoding in full,
turning upright, SHA-256 and pHash alone take in as many processes that do nothing else. As many, for cores that share
caches and power do the same work in more time when both are busy: in one process it takes a quarter less. So the way of
the bytes to the decoders and back counts as ours, and so do the quality measures, which are told apart too.

Hosts that make trouble are left out; `benchmarks.hosts` has them in.

icrawler's threads wait five seconds for more before they end. Who runs it waits as long; a longer list makes it matter
less. The ratio is therefore given with that wait and without it.
"""

import hashlib
import io
import logging
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

import cv2
import imagehash
from icrawler.builtin import UrlListCrawler
from PIL import Image

from curate import project as projects
from curate.config import IngestSettings
from curate.crawl.crawl import crawl
from curate.crawl.plan import targets
from curate.crawl.report import CrawlReport
from curate.crawl.sources import Credentials, make
from curate.demo.draw import CLASSES, draw
from curate.edit import set_value
from curate.ingest.decoders import ENVIRONMENT
from curate.ingest.facts import examine, phash
from tests.manyhosts import TROUBLED, Served, serve
from trainer.pixels import to_rgb

_IMAGES = int(os.environ.get("CURATE_BENCH_IMAGES", "3000"))
_REPEATS = int(os.environ.get("CURATE_BENCH_REPEATS", "5"))
HOSTS = 50
_THREADS = 8
_DRAWN = 26
_SIZE = (1024, 768)
_PROCESSES = os.cpu_count() or 1
_PASSES = 10


@dataclass(frozen=True)
class _Took:
    """Seconds by the wall clock, of processor time, and of those by the wall clock what was mere waiting at the end."""

    wall: float
    cpu: float
    waited: float


def run() -> Iterator[str]:
    """Yield the figures of each turn, the ratio of both sides, and what our own work costs an image."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        draw_pictures(place / "www")
        with serve(place / "www", HOSTS) as served:
            listed = place / "urls.txt"
            listed.write_text("\n".join(_plain(served)))
            number = len(listed.read_text().splitlines())
            ours, theirs = [], []
            for turn in range(_REPEATS):
                ours.append(_timed(partial(_ours, place / f"ours-{turn}", listed)))
                theirs.append(_timed(partial(_theirs, place / f"theirs-{turn}", listed)))
                said = _said(ours[-1], number), _said(theirs[-1], number)
                yield f"turn {turn + 1}: ours {said[0]}; icrawler + imagehash {said[1]}"
            yield _compared(ours, theirs, number)
            yield _own(ours, number, place / "www")


def _compared(ours: Sequence[_Took], theirs: Sequence[_Took], number: int) -> str:
    pairs = list(zip(ours, theirs, strict=True))
    ratio = statistics.median(b.wall / a.wall for a, b in pairs)
    without = statistics.median((b.wall - b.waited) / a.wall for a, b in pairs)
    times = f"{ratio:.2f} times icrawler + imagehash, {without:.2f} without its wait at the end (medians)"
    return f"{number:,} images, {_PROCESSES} processes to hash: {times}"


def _own(ours: Sequence[_Took], number: int, folder: Path) -> str:
    hashing, all_of_it = _alone(folder)
    cpu = statistics.median(took.cpu for took in ours) / number * 1000
    quality = f"{all_of_it - hashing:.2f} of it to measure quality"
    own = f"{cpu - hashing:.2f} ms an image ({cpu:.2f} less {hashing:.2f}), {quality}"
    return f"own work beside decoding and hashing: {own}"


def _plain(served: Served) -> list[str]:
    """Addresses that are pictures, on hosts that have no faults."""
    found = enumerate(served.addresses(_IMAGES))
    return [url for n, url in found if n % 50 not in {7, 8} and urlsplit(url).hostname not in TROUBLED]


def draw_pictures(folder: Path) -> None:
    """Draw pictures with as much detail as photographs have."""
    folder.mkdir()
    for number in range(_DRAWN):
        picture = draw(CLASSES[number % len(CLASSES)], number, _SIZE[0]).resize(_SIZE)
        noise = Image.effect_noise(_SIZE, 24).convert("RGB")  # as much detail as a photograph has
        Image.blend(picture, noise, 0.35).save(folder / f"{number:02d}.jpg", quality=90)


def _timed(call: Callable[[], float]) -> _Took:
    before = _cpu()
    started = time.perf_counter()
    waited = call()
    return _Took(time.perf_counter() - started, _cpu() - before, waited)


def _cpu() -> float:
    """Processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _ours(folder: Path, listed: Path) -> float:
    report = crawled(folder, listed)
    if report.found != report.stored or report.failed:
        raise SystemExit(f"not every image was stored: {report}")
    return 0.0


def crawled(folder: Path, listed: Path, **settings: str) -> CrawlReport:
    """Crawl a list of addresses into a new project, under these settings of `[crawl]`."""
    projects.create(folder, None, ("A", "B")).database.close()
    for name, value in {"allow_private_addresses": "true", "concurrency": "32", **settings}.items():
        set_value(folder / "curate.toml", f"crawl.{name}", value)
    project = projects.open_project(folder)
    source = f"urls={listed}"
    finders = [make(source, project.settings.crawl, Credentials())]
    report = crawl(project, targets(project, (), (source,), None), finders)
    project.database.close()
    return report


def _theirs(folder: Path, listed: Path) -> float:
    download(folder, listed)
    ended = time.time()
    files = sorted(folder.iterdir())
    with ProcessPoolExecutor(_PROCESSES) as pool:
        list(pool.map(_hash, files, chunksize=16))
    return ended - max(path.stat().st_mtime for path in files)


def download(folder: Path, listed: Path) -> None:
    """Fetch a list of addresses with icrawler's own downloader."""
    crawler = UrlListCrawler(downloader_threads=_THREADS, storage={"root_dir": str(folder)}, log_level=logging.CRITICAL)
    crawler.crawl(str(listed), max_num=10**6)


def _hash(path: Path) -> str:
    return str(imagehash.phash(Image.open(path)))


def _alone(folder: Path) -> tuple[float, float]:
    """Milliseconds of processor time an image, in processes of their own: decoding and hashing, and all that we do."""
    with mock.patch.dict(os.environ, ENVIRONMENT), ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
        found = list(pool.map(_take_apart, [folder] * _PROCESSES))
    hashing, all_of_it = zip(*found, strict=True)
    return statistics.fmean(hashing), statistics.fmean(all_of_it)


def _take_apart(folder: Path) -> tuple[float, float]:
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    limits = IngestSettings()
    cv2.setNumThreads(1)
    ways: tuple[Callable[[bytes], object], ...] = (_decode_and_hash, partial(examine, limits=limits))
    took: tuple[list[float], ...] = ([], [])
    for _ in range(1 + _PASSES):  # the first loads what it needs
        for way, times in zip(ways, took, strict=True):
            before = time.process_time()
            for data in files:
                way(data)
            times.append((time.process_time() - before) / len(files) * 1000)
    hashing, all_of_it = (statistics.median(times[1:]) for times in took)
    return hashing, all_of_it


def _decode_and_hash(data: bytes) -> tuple[str, int]:
    with Image.open(io.BytesIO(data)) as image:
        return hashlib.sha256(data).hexdigest(), phash(to_rgb(image))


def _said(took: _Took, number: int) -> str:
    waited = f", {took.waited:.1f} s of waiting" if took.waited else ""
    return f"{number / took.wall:.0f} images/s, {took.cpu / number * 1000:.2f} ms of processor an image{waited}"
