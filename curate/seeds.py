"""`curate train --seeds N`: the same training from several seeds, since one accuracy is one draw of many."""

from dataclasses import dataclass, replace
from statistics import mean, stdev

from sqlalchemy import select

from curate.progress import QUIET, Progress
from curate.project import Project
from curate.split import latest_snapshot
from curate.training import TrainReport, report_of, train_run
from db.models import Run, RunState
from trainer import parallel
from trainer.options import TrainOptions


@dataclass(frozen=True, slots=True)
class SeedsReport:
    """Runs that differ in nothing but their seed."""

    runs: list[tuple[int, TrainReport]]
    """By seed."""

    @property
    def best(self) -> TrainReport:
        """The most accurate one."""
        return max((report for _, report in self.runs), key=lambda report: report.result.validation_accuracy)

    @property
    def accuracies(self) -> list[float]:
        """On the validation images, which all runs share."""
        return [report.result.validation_accuracy for _, report in self.runs]

    @property
    def mean(self) -> float:
        """Of the accuracies."""
        return mean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the accuracies, as of a sample; None for one run."""
        return stdev(self.accuracies) if len(self.runs) > 1 else None


def train_seeds(project: Project, options: TrainOptions, count: int, progress: Progress = QUIET) -> SeedsReport:
    """Train with `count` seeds from that of `options` on; what a stopped call had finished is not trained again.

    Raises as `train_run`.
    """
    found = []
    with parallel.crew() as crew:  # one for all seeds: processes part only at the end
        shown = progress if crew.leads else QUIET
        for seed in range(options.seed, options.seed + count):
            one = replace(options, seed=seed)
            done = crew.agreed(_finished(project, one) if crew.leads else None)
            if done is None:
                shown.say(f"seed {seed}")
                done = train_run(project, one, progress=shown)
            else:
                shown.say(f"seed {seed}: run {done.run} was trained so already")
            found.append((seed, replace(done, leads=crew.leads)))
    return SeedsReport(found)


def _finished(project: Project, options: TrainOptions) -> TrainReport | None:
    with project.database.read() as session:
        snapshot = latest_snapshot(session)
        if snapshot is None:
            return None
        query = select(Run).where(Run.state == RunState.FINISHED, Run.snapshot_id == snapshot.id).order_by(Run.id)
        same = [run for run in session.scalars(query) if run.options == options.as_dict()]
    return report_of(project, same[0]) if same else None
