"""`curate predict`: what a run says of any image file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curate import runs
from curate.ingest.facts import header_refusal
from curate.ingest.folder import image_files, read_file
from curate.progress import QUIET, Progress
from curate.project import Project
from db.errors import DatasetError
from db.reasons import Reason, Refusal
from trainer.predict import Answer, Predictor


@dataclass(frozen=True, slots=True)
class Prediction:
    """One file's answer, `path` as it was given."""

    path: str
    label: str
    score: float
    probabilities: dict[str, float]
    outside: bool
    """None of the classes."""
    outside_score: float
    """How far from all classes, from 0 to 1; what is outside has more than 0.5."""
    nearest: str | None
    """Of what is outside, the class it is nearest to: `label`."""


@dataclass(frozen=True, slots=True)
class PredictReport:
    """Answers, and the files that gave none; `backend` says what computed."""

    run: str
    backend: str
    predictions: list[Prediction]
    failures: list[tuple[str, Refusal]]


class Refused(Exception):  # noqa: N818 - carries a value through the trainer, which knows no refusals
    """An image was not taken."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def predict_files(
    project: Project,
    paths: Sequence[str],
    run: str | None = None,
    progress: Progress = QUIET,
    backend: str = "auto",
) -> PredictReport:
    """Predict files, and all images in folders; of any number of them only two batches are in memory at a time.

    Raises DatasetError for a path that is not there, or no run, and WeightsError for a backend that cannot be used.
    """
    files = list(_expand(paths))
    with project.database.read() as session:
        chosen = runs.choose(session, run, [c.name for c in project.settings.classes])
    predictor = Predictor.load(project.runs / chosen.name, backend=backend, pictures=len(files), say=progress.say)
    report = PredictReport(chosen.name, predictor.backend, [], [])
    with progress.task(f"predicting by {chosen.name}", len(files), "images") as task:
        answers = predictor.stream(partial(read_picture, project, Path(path)) for path in files)
        for path, answer in zip(files, answers, strict=True):
            if isinstance(answer, Answer):
                report.predictions.append(_prediction(path, answer, predictor.classes))
            else:
                report.failures.append((path, refusal_of(answer)))
            task.advance()
    return report


def paths_from(file: Path) -> list[str]:
    """Paths listed in a file, one a line; blank lines are left out. Raises DatasetError."""
    try:
        return paths_in(file.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read the list {file}: {error}") from error


def paths_in(data: bytes) -> list[str]:
    """Paths in the bytes of a list, as `find` and `ls` print them. Raises UnicodeDecodeError."""
    # Not splitlines: that takes a form feed, or U+2028, in the middle of a name for the end of a line.
    lines = (line.removesuffix("\r") for line in data.decode("utf-8").split("\n"))
    return [line for line in lines if line.strip()]


def _expand(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if Path(path).is_dir():
            yield from (str(file) for file in image_files(Path(path)))
        elif Path(path).exists():
            yield path
        else:
            raise DatasetError(f"no file or folder {path}")


def read_picture(project: Project, path: Path) -> bytes:
    """Give the bytes of a file that may be decoded. Raises Refused."""
    data = read_file(path, project.settings.ingest)
    if isinstance(data, Refusal):
        raise Refused(data)
    refusal = header_refusal(data, project.settings.ingest)
    if refusal is not None:
        raise Refused(refusal)
    return data


def refusal_of(error: Exception) -> Refusal:
    """Say why an image gave no answer."""
    if isinstance(error, Refused):
        return error.refusal
    return Refusal(Reason.CORRUPT, str(error))


def _prediction(path: str, answer: Answer, classes: Sequence[str]) -> Prediction:
    probabilities = dict(zip(classes, answer.probabilities, strict=True))
    label = classes[answer.label]
    nearest = label if answer.outside else None
    return Prediction(path, label, answer.score, probabilities, answer.outside, answer.outside_score, nearest)
