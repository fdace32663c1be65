"""A crawl of fifty hosts of which four make trouble, beside icrawler's downloader on the same list.

One host takes a second a picture, one sends a byte each tenth of a second, one wants patience (429), one redirects into
a private network. Both give up on a host that is silent for five seconds. icrawler has no limit for the whole of a
picture, so that each of its threads ends at the host that drips: it is stopped after twice the time that we took, and
the line says how far it was. None of its files are hashed by then.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

from benchmarks.crawl import HOSTS, crawled, download, draw_pictures
from tests.manyhosts import serve

_CANDIDATES = int(os.environ.get("CURATE_BENCH_CANDIDATES", "5000"))
_TIMES = 2
_SILENT_SECONDS = "5"


def run() -> Iterator[str]:
    """Yield what we took for the whole list, and how far icrawler came in `_TIMES` times as long."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        draw_pictures(place / "www")
        with serve(place / "www", HOSTS) as served:
            listed = place / "urls.txt"
            listed.write_text("\n".join(served.addresses(_CANDIDATES)))
            started = time.perf_counter()
            report = crawled(place / "ours", listed, deadline_seconds=_SILENT_SECONDS)
            took = time.perf_counter() - started
            yield f"ours: {report.found:,} addresses, {report.stored:,} stored and hashed in {took:.0f} s"
            yield _theirs(place / "theirs", listed, _TIMES * took)


def _theirs(folder: Path, listed: Path, limit: float) -> str:
    process = get_context("spawn").Process(target=download, args=(folder, listed))
    started = time.perf_counter()
    process.start()
    process.join(limit)
    took = time.perf_counter() - started
    ended = not process.is_alive()
    process.kill()
    process.join()
    return f"icrawler: {'ended' if ended else 'stopped'} after {took:.0f} s, {len(list(folder.iterdir())):,} files"
