"""Features of a project's images by the network that its training begins with, or by a run's, kept in its folder."""

from collections.abc import Sequence

from curate.progress import QUIET, Progress
from curate.project import Project
from curate.training import options_from
from curate.watching import watched
from db.models import Run
from trainer.embed import Embedder, embed
from trainer.features import FOLDER, Features
from trainer.manifest import Item
from trainer.predict import Predictor


def load_embedder(project: Project, *, deep: bool = False) -> Embedder:
    """Load the network that `train.arch`, `train.init` and `train.size` name. Raises WeightsError.

    If `deep`, features come from several of its depths.
    """
    options = options_from(project)
    return Embedder.load(options.arch, options.init, options.size, options.device, deep=deep)


def features_of(project: Project, embedder: Embedder, items: Sequence[Item], progress: Progress = QUIET) -> Features:
    """Features of some images, (N, D), in their order; computed for those that have none yet."""
    with watched(progress) as shown:
        return embed(embedder, items, project.private / "pixels", project.private / FOLDER, shown)


def run_embedder(project: Project, run: Run) -> Embedder:
    """Load the network of a finished run, for features from several of its depths. Raises WeightsError."""
    predictor = Predictor.load(project.runs / run.name, backend="torch")
    name = f"run-{run.name}-{(run.weights_sha256 or '')[:16]}-{predictor.size}-deep"
    return Embedder(name, predictor.model, predictor.size, predictor.precision, deep=True)
