"""`curate explain`: where a run looks for its answer, as sheets of pictures, and what a scribble does to it."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from curate import lookup, runs
from curate.config import class_key
from curate.heat import Row, percent, render, short
from curate.ingest.facts import header_refusal
from curate.ingest.folder import image_files, read_file
from curate.progress import QUIET, Progress, Task
from curate.project import Project
from db.errors import ConfigError, DatasetError
from db.files import write_atomically
from db.models import ImageState
from db.reasons import Reason, Refusal
from trainer.cache import Pixels, decode, squeeze
from trainer.corrupt import scribble
from trainer.explain import Explanation, explain
from trainer.explain import runner_up as second
from trainer.predict import Answer, Predictor

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
_ROWS = 40
"""Of one sheet: some 13,000 pixels down, which every viewer opens."""
_BATCH = 8
_SHOWN_SIDE = 420
"""Pixels of the longer side of a picture on a sheet."""
_TOP = 3
_STROKES = 3
"""Of a scribble: the article's was a few."""
_LONGEST_PATH = 60


@dataclass(frozen=True, slots=True)
class Ranked:
    """A class and its calibrated probability."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What a run says of a picture."""

    label: str
    score: float
    runner_up: str
    against: str
    """The class that the answer is told apart from."""
    outside: bool
    top: list[Ranked]


@dataclass(frozen=True, slots=True)
class Explained:
    """One picture, `path` as it was given, and the same under a scribble if there was to be one."""

    path: str
    reading: Reading
    under_scribble: Reading | None = None

    @property
    def flipped(self) -> bool:
        """Whether the scribble changed the answer."""
        return self.under_scribble is not None and self.under_scribble.label != self.reading.label


@dataclass
class ExplainReport:
    """Sheets, what is on them, and the pictures that could not be read."""

    run: str
    files: list[Path] = field(default_factory=list)
    explanations: list[Explained] = field(default_factory=list)
    failures: list[tuple[str, Refusal]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be shown: `against` names a class, or it is the runner-up; `scribble` is a seed, or there is none."""

    output: Path | None = None
    run: str | None = None
    against: str | None = None
    scribble: int | None = None


@dataclass(frozen=True)
class _Opened:
    """A picture as it was decoded, and where the scribble over it comes from: its own bytes."""

    path: str
    image: Image.Image
    checksum: int


def explain_pictures(project: Project, given: Sequence[str], asked: Asked, progress: Progress = QUIET) -> ExplainReport:
    """Explain files, images in folders, and images of the project as `curate why` takes them, on as few sheets as hold.

    Sheets are written one by one, as they are full. Raises ConfigError for an output that is no picture, DatasetError
    for a picture that is not there, a class that the run does not know, or no run.
    """
    output = asked.output or project.root / f"{runs.EXPLAINED}.png"
    if output.suffix.lower() not in FORMATS:
        raise ConfigError(f"-o {output}: sheets are PNG or JPEG; end its name in .png or .jpg")
    files = list(_files(project, given))
    with project.database.read() as session:
        chosen = runs.choose(session, asked.run, [c.name for c in project.settings.classes])
    predictor = Predictor.load(project.runs / chosen.name)
    work = _Work(project, predictor, _class(predictor, asked.against), asked.scribble)
    report = ExplainReport(chosen.name)
    each = _ROWS // (2 if asked.scribble is not None else 1)
    with progress.task(f"explaining {chosen.name}", len(files), "images") as task:
        for start in range(0, len(files), each):
            rows = list(work.rows(files[start : start + each], report, task))
            if rows:
                path = _numbered(output, len(report.files) + 1)
                sheet = render(f"Where run {chosen.name} looks for its answers", rows, FORMATS[path.suffix.lower()])
                write_atomically(path, sheet)
                report.files.append(path)
    return report


def _files(project: Project, given: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for name in given:
        path = Path(name)
        if path.is_dir():
            yield from ((str(file), file) for file in image_files(path))
        elif path.exists():
            yield name, path
        else:
            yield name, _stored(project, name)


def _stored(project: Project, name: str) -> Path:
    with project.database.read() as session:
        image = lookup.find_image(session, name)
        if image.state is ImageState.FORGOTTEN:
            raise DatasetError(f"image {name} was forgotten; its file is gone")
        return project.store.path(image.sha256, image.format)


def _class(predictor: Predictor, against: str | None) -> int | None:
    if against is None:
        return None
    known = [class_key(name) for name in predictor.classes]
    if class_key(against) not in known:
        raise DatasetError(f"the run knows no class {against!r}; it knows {', '.join(predictor.classes)}")
    return known.index(class_key(against))


def _numbered(output: Path, number: int) -> Path:
    return output if number == 1 else output.with_stem(f"{output.stem}-{number}")


@dataclass(frozen=True)
class _Work:
    """How pictures become rows."""

    project: Project
    predictor: Predictor
    against: int | None
    scribble: int | None

    def rows(self, files: Sequence[tuple[str, Path]], report: ExplainReport, task: Task) -> Iterator[Row]:
        """Explain pictures a batch at a time, noting answers and failures in the report."""
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            opened = []
            for name, path in batch:
                found = self._open(name, path)
                if isinstance(found, Refusal):
                    report.failures.append((name, found))
                else:
                    opened.append(found)
            if opened:
                yield from self._explain(opened, report)
            task.advance(len(batch))

    def _open(self, name: str, path: Path) -> _Opened | Refusal:
        limits = self.project.settings.ingest
        data = read_file(path, limits)
        if isinstance(data, Refusal):
            return data
        refusal = header_refusal(data, limits)
        if refusal is not None:
            return refusal
        try:
            image = decode(data, self.predictor.side)
        except Exception as error:  # noqa: BLE001 - a decoder may raise anything; it costs this image only
            return Refusal(Reason.CORRUPT, str(error))
        return _Opened(name, image, zlib.crc32(data))

    def _explain(self, opened: Sequence[_Opened], report: ExplainReport) -> Iterator[Row]:
        before = self._explained([one.image for one in opened], [self.against] * len(opened))
        if self.scribble is None:
            for one, found in zip(opened, before, strict=True):
                report.explanations.append(Explained(one.path, self._reading(found)))
                yield self._row(short(one.path, _LONGEST_PATH), one.image, found)
            return
        # A seed for each picture, whatever others stand beside it.
        drawn = [scribbled(one.image, zlib.crc32(str(self.scribble).encode(), one.checksum)) for one in opened]
        answers = self.predictor.answers(self._squares(drawn))
        after = self._explained(drawn, [self._other(b, a) for b, a in zip(before, answers, strict=True)])
        for one, image, was, now in zip(opened, drawn, before, after, strict=True):
            explained = Explained(one.path, self._reading(was), self._reading(now))
            report.explanations.append(explained)
            yield self._row(short(one.path, _LONGEST_PATH), one.image, was)
            yield self._row(f"    under a scribble: {_change(explained)}", image, now)

    def _other(self, before: Explanation, after: Answer) -> int | None:
        """Ask what makes a flipped answer the new one and not the old, unless a class was named."""
        return before.answer.label if self.against is None and after.label != before.answer.label else self.against

    def _explained(self, images: Sequence[Image.Image], against: Sequence[int | None]) -> list[Explanation]:
        return explain(self.predictor, self._squares(images), against)

    def _squares(self, images: Sequence[Image.Image]) -> Pixels:
        return np.stack([squeeze(image, self.predictor.side) for image in images])

    def _reading(self, found: Explanation) -> Reading:
        names, answer = self.predictor.classes, found.answer
        return Reading(
            label=names[answer.label],
            score=answer.score,
            runner_up=names[second(answer)],
            against=names[found.against],
            outside=answer.outside,
            top=[Ranked(names[label], answer.probabilities[label]) for label in _ranked(answer)[:_TOP]],
        )

    def _row(self, heading: str, image: Image.Image, found: Explanation) -> Row:
        reading = self._reading(found)
        bars = [(one.label, one.score) for one in reading.top]
        if reading.against not in {name for name, _ in bars}:
            bars.append((reading.against, found.answer.probabilities[found.against]))
        shown = image.copy()
        shown.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
        return Row(
            picture=shown,
            heading=heading,
            label=reading.label,
            against=reading.against,
            evidence=found.evidence,
            difference=found.difference,
            bars=bars,
            outside=reading.outside,
        )


def _ranked(answer: Answer) -> list[int]:
    order = range(len(answer.probabilities))
    return sorted(order, key=lambda label: (label != answer.label, -answer.probabilities[label]))


def _change(explained: Explained) -> str:
    was, now = explained.reading, explained.under_scribble or explained.reading
    if explained.flipped:
        return (
            f"the answer flips from {short(was.label)} {percent(was.score)} to {short(now.label)} {percent(now.score)}"
        )
    return f"the answer stays {short(was.label)}, {percent(was.score)} before and {percent(now.score)} after"


def scribbled(image: Image.Image, seed: int) -> Image.Image:
    """Draw a few strokes over an RGB picture: the article's experiment. The same seed draws the same strokes."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    drawn = scribble(pixels, _STROKES, torch.Generator().manual_seed(seed))
    return Image.fromarray((drawn[0] * 255).round().byte().permute(1, 2, 0).numpy())
