"""A whole crawl with ingest, beside icrawler's downloader followed by a loop of imagehash over its files.

Both fetch the same pictures from the same server and hash them with the same number of processes. Ours also decodes
each picture whole, checks it, obeys robots.txt, and writes a database; icrawler stops where a file is written.
"""

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
from pathlib import Path
from urllib.parse import urlsplit

import imagehash
from icrawler.builtin import UrlListCrawler
from PIL import Image

from curate import project as projects
from curate.config import IngestSettings
from curate.crawl.crawl import crawl
from curate.crawl.plan import targets
from curate.crawl.sources import Credentials, make
from curate.demo.draw import CLASSES, draw
from curate.edit import set_value
from curate.ingest.decoders import Decoders
from tests.manyhosts import TROUBLED, Served, serve

_IMAGES = int(os.environ.get("CURATE_BENCH_IMAGES", "3000"))
_REPEATS = int(os.environ.get("CURATE_BENCH_REPEATS", "5"))
_HOSTS = 50
_DRAWN = 26
_SIZE = (1024, 768)
_PROCESSES = os.cpu_count() or 1


@dataclass(frozen=True)
class _Took:
    """Seconds by the wall clock, of processor time, and of that what decoding and hashing took."""

    wall: float
    cpu: float


def run() -> Iterator[str]:
    """Yield the medians of each side, their ratio, and what our own work costs an image."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        _draw(place / "www")
        with serve(place / "www", _HOSTS) as served:
            listed = place / "urls.txt"
            listed.write_text("\n".join(_plain(served)))
            number = len(listed.read_text().splitlines())
            ours, theirs = [], []
            for turn in range(_REPEATS):
                ours.append(_timed(partial(_ours, place / f"ours-{turn}", listed)))
                theirs.append(_timed(partial(_theirs, place / f"theirs-{turn}", listed)))
                said = _said(ours[-1], number), _said(theirs[-1], number)
                yield f"turn {turn + 1}: ours {said[0]}; icrawler + imagehash {said[1]}"
            judging = _judging(place / "www")
            cpu = statistics.median(took.cpu for took in ours) / number * 1000
            ratio = statistics.median(b.wall / a.wall for a, b in zip(ours, theirs, strict=True))
            yield f"{number:,} images, {_PROCESSES} processes to hash: {ratio:.2f} times icrawler + imagehash (median)"
            own = f"{cpu - judging:.2f} ms an image ({cpu:.2f} less {judging:.2f})"
            yield f"own work beside decoding and hashing: {own}"


def _plain(served: Served) -> list[str]:
    """Addresses that are pictures, on hosts that have no faults."""
    found = enumerate(served.addresses(_IMAGES))
    return [url for n, url in found if n % 50 not in {7, 8} and urlsplit(url).hostname not in TROUBLED]


def _draw(folder: Path) -> None:
    folder.mkdir()
    for number in range(_DRAWN):
        picture = draw(CLASSES[number % len(CLASSES)], number, _SIZE[0]).resize(_SIZE)
        noise = Image.effect_noise(_SIZE, 24).convert("RGB")  # as much detail as a photograph has
        Image.blend(picture, noise, 0.35).save(folder / f"{number:02d}.jpg", quality=90)


def _timed(call: Callable[[], None]) -> _Took:
    before = _cpu()
    started = time.perf_counter()
    call()
    return _Took(time.perf_counter() - started, _cpu() - before)


def _cpu() -> float:
    """Processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _ours(folder: Path, listed: Path) -> None:
    projects.create(folder, None, ("A", "B")).database.close()
    set_value(folder / "curate.toml", "crawl.allow_private_addresses", "true")
    set_value(folder / "curate.toml", "crawl.concurrency", "32")
    project = projects.open_project(folder)
    name = f"urls={listed}"
    settings = project.settings.crawl
    report = crawl(project, targets(project, (), (name,), None), [make(name, settings, Credentials())])
    project.database.close()
    if report.found != report.stored or report.failed:
        raise SystemExit(f"not every image was stored: {report}")


def _theirs(folder: Path, listed: Path) -> None:
    crawler = UrlListCrawler(downloader_threads=8, storage={"root_dir": str(folder)}, log_level=logging.ERROR)
    crawler.crawl(str(listed), max_num=10**6)
    files = sorted(folder.iterdir())
    with ProcessPoolExecutor(_PROCESSES) as pool:
        list(pool.map(_hash, files, chunksize=16))


def _hash(path: Path) -> str:
    return str(imagehash.phash(Image.open(path)))


def _judging(folder: Path) -> float:
    """Milliseconds of processor time that decoding, checking and hashing take an image, as the crawl has it done."""
    files = [path.read_bytes() for path in sorted(folder.iterdir())] * 10
    began = _judged(files[:1])
    return (_judged(files) - began) / (len(files) - 1) * 1000


def _judged(files: Sequence[bytes]) -> float:
    before = _cpu()
    with Decoders(IngestSettings(), 1) as decoders:
        for data in files:
            decoders.examine(data)
    return _cpu() - before


def _said(took: _Took, number: int) -> str:
    return f"{number / took.wall:.0f} images/s, {took.cpu / number * 1000:.2f} ms of processor an image"
