"""Planted copies among real photographs: how many each way of finding near-duplicates finds, and how often it errs.

Photographs are the user's: `CURATE_BENCH_PHOTOGRAPHS` names a folder of them, `CURATE_BENCH_WEIGHTS` a safetensors file
with SqueezeNet's weights for the search with a descriptor, `CURATE_BENCH_HALF` 0 or 1 which half of them to take.
A found pair counts as wrong if neither a copy was planted nor curate, by looking at the pixels, calls it the same
photograph; curate's own pairs beyond those planted are for a person to look at (`curate dedup --review`).
"""

import hashlib
import io
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

import imagehash
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from curate import project as projects
from curate.dedup.search import dedup
from curate.edit import set_value
from curate.ingest.folder import import_folder

_EACH = int(os.environ.get("CURATE_BENCH_COPIES", "20"))
_SEED = 77
_DISTANCES = (2, 4, 6, 10)
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)

Change = Callable[[Image.Image, random.Random], Image.Image]
Pair = frozenset[str]


def _crop(share: float) -> Change:
    def change(image: Image.Image, chance: random.Random) -> Image.Image:
        width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
        left, top = chance.randint(0, image.width - width), chance.randint(0, image.height - height)
        return image.crop((left, top, left + width, top + height))

    return change


def _watermark(opacity: int) -> Change:
    def change(image: Image.Image, chance: random.Random) -> Image.Image:
        over = Image.new("RGBA", image.size, (0, 0, 0, 0))
        pen = ImageDraw.Draw(over)
        font = ImageFont.load_default(size=image.width // 9)
        colour = chance.choice([(255, 255, 255), (30, 30, 30), (200, 30, 30)])
        for top in range(20, image.height, image.height // 3):
            pen.text((chance.randint(0, image.width // 7), top), "guitars.example", font=font, fill=(*colour, opacity))
        return Image.alpha_composite(image.convert("RGBA"), over).convert("RGB")

    return change


def _scaled(factor: float) -> Change:
    return lambda image, _: image.resize((round(image.width * factor), round(image.height * factor)))


def _brightness(factor: float) -> Change:
    return lambda image, _: ImageEnhance.Brightness(image).enhance(factor)


def _padded(share: float, colour: tuple[int, int, int]) -> Change:
    return lambda image, _: ImageOps.expand(image, round(max(image.size) * share), colour)


def _turned(degrees: int) -> Change:
    return lambda image, chance: image.rotate(
        degrees * chance.choice([-1, 1]), Image.Resampling.BICUBIC, fillcolor=_WHITE
    )


_KINDS: dict[str, tuple[Change, int]] = {
    "resized to 0.5": (_scaled(0.5), 90),
    "resized to 1.7": (_scaled(1.7), 90),
    "quality 30": (lambda image, _: image, 30),
    "quality 60": (lambda image, _: image, 60),
    "watermark 0.35": (_watermark(90), 90),
    "watermark 0.63": (_watermark(160), 90),
    "brightness 0.7": (_brightness(0.7), 90),
    "brightness 1.3": (_brightness(1.3), 90),
    "gray": (lambda image, _: image.convert("L"), 90),
    "crop 5 %": (_crop(0.05), 90),
    "crop 10 %": (_crop(0.1), 90),
    "crop 20 %": (_crop(0.2), 90),
    "padding white": (_padded(0.1, _WHITE), 90),
    "padding black": (_padded(0.15, _BLACK), 90),
    "mirror": (lambda image, _: ImageOps.mirror(image), 90),
    "3 degrees": (_turned(3), 90),
    "5 degrees": (_turned(5), 90),
}
"""What is done to a photograph, and the JPEG quality that it is written with."""


def run() -> Iterator[str]:
    """Yield one JSON line a method: recall of each kind, pairs found, and of those the wrong ones."""
    given = os.environ.get("CURATE_BENCH_PHOTOGRAPHS")
    if not given:
        yield "set CURATE_BENCH_PHOTOGRAPHS to a folder of photographs: planted copies are looked for among them"
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        truth = _plant(Path(given), folder)
        right: set[Pair] = set(truth)
        weights = os.environ.get("CURATE_BENCH_WEIGHTS")
        for descriptor in filter(None, (weights, "none")):
            began = time.perf_counter()
            found, seconds = _curate(Path(name) / f"project-{len(right)}", folder, descriptor)
            right |= found
            label = "curate, descriptor none" if descriptor == "none" else "curate, with a descriptor"
            yield _line(label, found, truth, right, dedup_s=seconds, all_s=time.perf_counter() - began)
        hashes = {path.name: imagehash.phash(Image.open(path)) for path in sorted(folder.iterdir())}
        numbers = {name: int(str(value), 16) for name, value in hashes.items()}
        for distance in _DISTANCES:
            yield _line(f"imagehash.phash, distance {distance}", _within(numbers, distance), truth, right)
        yield _imagededup(folder, truth, right)


def _plant(photographs: Path, folder: Path) -> dict[Pair, str]:
    """Write photographs and copies of some to `folder`; give each planted pair with its kind."""
    folder.mkdir()
    chance = random.Random(_SEED)  # noqa: S311 - a benchmark, to be repeated
    found = sorted(path for path in photographs.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    # The same bytes twice would be stored once, under one of the names.
    paths = [*{hashlib.sha256(path.read_bytes()).digest(): path for path in found}.values()]
    random.Random(5).shuffle(paths)  # noqa: S311
    half = len(paths) // 2
    paths = {"0": paths[:half], "1": paths[half:]}.get(os.environ.get("CURATE_BENCH_HALF", ""), paths)
    names = [f"{number:06d}{path.suffix}" for number, path in enumerate(paths)]
    for name, path in zip(names, paths, strict=True):
        (folder / name).write_bytes(path.read_bytes())
    truth: dict[Pair, str] = {}
    for kind, (change, quality) in _KINDS.items():
        for number in chance.sample(range(len(paths)), min(_EACH, len(paths))):
            with Image.open(paths[number]) as image:
                copy = change(image.convert("RGB"), chance)
            name = f"{names[number]}-{kind.replace(' ', '-').replace('%', 'percent')}.jpg"
            copy.convert("RGB").save(folder / name, "JPEG", quality=quality)
            truth[frozenset((names[number], name))] = kind
    return truth


def _curate(project_folder: Path, folder: Path, descriptor: str) -> tuple[set[Pair], float]:
    projects.create(project_folder, None, ("A", "B")).database.close()
    set_value(project_folder / "curate.toml", "dedup.descriptor", descriptor)
    project = projects.open_project(project_folder)
    import_folder(project, folder, labels=False)
    began = time.perf_counter()
    report = dedup(project)
    seconds = time.perf_counter() - began
    project.database.close()
    return {
        frozenset((one.name, other.name))
        for group in report.groups
        for one in group.members
        for other in group.members
        if one.id < other.id
    }, seconds


def _within(numbers: Mapping[str, int], distance: int) -> set[Pair]:
    rows = sorted(numbers.items())
    return {
        frozenset((name, other))
        for place, (name, value) in enumerate(rows)
        for other, more in rows[place + 1 :]
        if (value ^ more).bit_count() <= distance
    }


def _imagededup(folder: Path, truth: Mapping[Pair, str], right: set[Pair]) -> str:
    try:
        hasher = import_module("imagededup.methods").PHash(verbose=False)
    except ImportError:
        return "imagededup is not installed: pip install imagededup"
    found = hasher.find_duplicates(image_dir=str(folder), num_enc_workers=0, num_dist_workers=0)
    pairs = {frozenset((name, other)) for name, others in found.items() for other in others}
    return _line("imagededup PHash, its default distance 10", pairs, truth, right)


def _line(method: str, found: set[Pair], truth: Mapping[Pair, str], right: set[Pair], **seconds: float) -> str:
    planted = Counter(truth.values())
    hit = Counter(kind for pair, kind in truth.items() if pair in found)
    recall = {kind: round(hit[kind] / number, 3) for kind, number in planted.items()}
    wrong = len(found - right)
    precision = round(1 - wrong / len(found), 3) if found else None
    took = {name: round(value, 1) for name, value in seconds.items()}
    out = io.StringIO()
    json.dump({"method": method, "pairs": len(found), "wrong": wrong, "precision": precision, **took, **recall}, out)
    return out.getvalue()
