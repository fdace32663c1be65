"""`curate next`: which images to label next, and why.

Classes that lack labels come first, each with a share of the batch in proportion to what it lacks; within a class, the
images that the best run is least sure of. Without a run yet, the query that found an image stands for the class.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import runs
from curate.project import Project
from db import reviews
from db.batches import chunks
from db.labels import accepted_keepers, keeper_labels
from db.models import Image, ImageState, Prediction, Run


@dataclass(frozen=True, slots=True)
class Choice:
    """One image to label. `score` is the best run's confidence, or None where nothing is predicted yet."""

    id: int
    path: str
    score: float | None
    why: str


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An image without a label, and the class that it is believed to be of."""

    id: int
    path: str
    sha256: str
    guess: str | None
    score: float | None
    conflict: bool
    """Its copies have labels, and they differ."""

    def order(self) -> tuple[float, str]:
        """Least sure first; without a prediction in an order that looks random, and is the same every time."""
        return (-1.0 if self.score is None else self.score, self.sha256)


def choose(project: Project, count: int, *, exclude: Iterable[int] = ()) -> list[Choice]:
    """Choose up to `count` unlabelled keepers, in the order in which they should be labelled."""
    with project.database.read() as session:
        missing = _missing(project, session)
        waiting = _waiting(project, session, set(exclude))
    chosen = _share_out(waiting, missing, count)
    return [Choice(w.id, w.path, w.score, _why(w, missing, project.settings.dataset.target)) for w in chosen]


def unlabelled_ids(session: Session) -> list[int]:
    """Ids of keepers that nothing is said of, and of those that a person must decide, or is to look at again.

    What was accepted from a run unseen is not among them, whether it counts or not.
    """
    settled = {label.keeper_id for label in keeper_labels(session) if not label.conflict}
    settled = (settled | accepted_keepers(session).keys()) - reviews.waiting(session).keys()
    query = select(Image.id).where(Image.is_keeper, Image.state == ImageState.STORED).order_by(Image.id)
    return [number for number in session.scalars(query) if number not in settled]


def unlabelled(session: Session) -> list[Image]:
    """The images of `unlabelled_ids`, in the same order."""
    query = select(Image).order_by(Image.id)
    some_ids = chunks(unlabelled_ids(session))
    return [image for ids in some_ids for image in session.scalars(query.where(Image.id.in_(ids)))]


def unanswered(session: Session, run: Run, images: Iterable[Image]) -> list[Image]:
    """Give those of `images` that `run` has said nothing of yet."""
    known = set(session.scalars(select(Prediction.image_id).where(Prediction.run_id == run.id)))
    return [image for image in images if image.id not in known]


def _missing(project: Project, session: Session) -> dict[str, int]:
    """How many labels each class lacks."""
    names = {class_id: name for name, class_id in project.classes(session).items()}
    missing = dict.fromkeys(names.values(), project.settings.dataset.target)
    for label in keeper_labels(session):
        if label.class_id is not None:
            missing[names[label.class_id]] -= 1
    return {name: max(0, count) for name, count in missing.items()}


def _waiting(project: Project, session: Session, exclude: set[int]) -> list[_Waiting]:
    names = {class_id: name for name, class_id in project.classes(session).items()}
    conflicts = {label.keeper_id for label in keeper_labels(session) if label.conflict}
    run = runs.best(session, list(names.values()))
    predicted: dict[int, tuple[str, float]] = {}
    if run is not None:
        query = select(Prediction.image_id, Prediction.class_index, Prediction.score).where(Prediction.run_id == run.id)
        said = runs.names_now(session, run)
        rows = ((image_id, said[index], score) for image_id, index, score in session.execute(query))
        predicted = {image_id: (name, score) for image_id, name, score in rows if name is not None}
    found = []
    for image in unlabelled(session):
        if image.id not in exclude:
            collected_for = None if image.collected_for_id is None else names.get(image.collected_for_id)
            guess, score = predicted.get(image.id, (collected_for, None))
            path, conflict = f"images/{image.relative_path}", image.id in conflicts
            found.append(_Waiting(image.id, path, image.sha256, guess, score, conflict))
    return found


def _share_out(waiting: Sequence[_Waiting], missing: Mapping[str, int], count: int) -> list[_Waiting]:
    """Fill places class by class in proportion to what each lacks, and what is left with whatever is least sure."""
    by_guess: dict[str | None, list[_Waiting]] = defaultdict(list)
    for image in sorted(waiting, key=_Waiting.order):
        by_guess[image.guess].append(image)
    total = sum(missing.values())
    chosen: list[_Waiting] = []
    for name, lack in missing.items():
        places = count * lack // total if total else 0
        chosen += by_guess[name][:places]
        del by_guess[name][:places]
    rest = [image for images in by_guess.values() for image in images]
    rest.sort(key=lambda image: (missing.get(image.guess or "", 1) == 0, *image.order()))
    return sorted(chosen + rest[: max(0, count - len(chosen))], key=_Waiting.order)


def _why(image: _Waiting, missing: Mapping[str, int], target: int) -> str:
    if image.conflict:
        return "labels of its copies differ"
    if image.guess is None:
        return "nothing is known of it yet"
    lack = missing[image.guess]
    need = f"which lacks {lack} of {target}" if lack else "which has its target"
    if image.score is None:
        return f"no prediction yet; collected for {image.guess}, {need}"
    return f"{image.guess} at {image.score:.2f}, {need}"
