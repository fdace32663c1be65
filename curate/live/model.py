"""What answers Label Studio's machine learning backend: predictions on record, and the best run for the rest."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import runs
from curate.project import Project
from curate.select import unanswered
from curate.showing import shown
from db.batches import chunks
from db.models import Image, Run, RunState
from labeler.backend import Answers

if TYPE_CHECKING:
    from trainer.predict import Predictor


class BestRun:
    """The best run, whichever it is when asked. Its network is loaded when an image comes that it has not seen."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._guard = threading.Lock()
        self._loaded: tuple[str, Predictor] | None = None

    def version(self) -> str:
        """Name of the best run, or nothing while none is finished."""
        with self.project.database.read() as session:
            run = self._best(session)
        return run.name if run else ""

    def versions(self) -> list[str]:
        """Name all finished runs on the present classes."""
        with self.project.database.read() as session:
            classes = list(self.project.classes(session))
            finished = session.scalars(select(Run).where(Run.state == RunState.FINISHED).order_by(Run.id))
            return [run.name for run in finished if run.classes == classes]

    def answer(self, images: Sequence[int]) -> Answers:
        """Say what is on images, given by id."""
        with self.project.database.read() as session:
            run = self._best(session)
            if run is None:
                return Answers("", {})
            rows = [i for ids in chunks(images) for i in session.scalars(select(Image).where(Image.id.in_(ids)))]
            missing = unanswered(session, run, rows)
        if missing:
            self._compute(run, missing)
        with self.project.database.read() as session:
            return Answers(run.name, shown(session, run, images, self.project.settings))

    def _best(self, session: Session) -> Run | None:
        return runs.best(session, list(self.project.classes(session)))

    def _compute(self, run: Run, images: Sequence[Image]) -> None:
        from curate.prelabel import predict_images  # noqa: PLC0415 - torch, only where a network has to be asked
        from trainer.predict import Predictor  # noqa: PLC0415 - as above

        with self._guard:  # one network at a time: two would only share the cores
            if self._loaded is None or self._loaded[0] != run.name:
                self._loaded = (run.name, Predictor.load(self.project.runs / run.name))
            predict_images(self.project, run, self._loaded[1], images)
