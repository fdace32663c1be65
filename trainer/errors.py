"""What stops training or prediction; the message is one line that says what to do."""


class TrainerError(Exception):
    """Training or prediction cannot go on."""


class ManifestError(TrainerError):
    """The images, labels or sides given do not allow a run."""


class WeightsError(TrainerError):
    """Weights are missing, damaged, or of another architecture or other classes."""


class DivergedError(TrainerError):
    """The loss is no number any more."""


class RecipeError(TrainerError):
    """A recipe is not there, or says what cannot be done."""
