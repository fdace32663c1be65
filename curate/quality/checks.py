"""What is wrong with a picture, by its measures and the thresholds of `[quality]`: the first check that it fails."""

from collections.abc import Mapping
from dataclasses import dataclass

from curate.quality.settings import QualitySettings
from db.reasons import Reason

METHOD = "plain1"
"""Stands in `Quality.method`. Measures under another name are taken anew by `curate quality`."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that may be wrong: a measure that must not be below, or above, what a key of `[quality]` says."""

    reason: Reason
    measure: str
    key: str
    about: str

    def fails(self, value: float, threshold: float) -> bool:
        """Compare; a threshold of 0 asks for nothing."""
        return threshold != 0 and (value < threshold if self.key.startswith("min_") else value > threshold)


CHECKS = (
    Check(Reason.TOO_SMALL, "side", "min_side", "pixels of the shorter side"),
    Check(Reason.ODD_ASPECT, "aspect", "max_aspect", "longer side through shorter side"),
    Check(Reason.BLANK, "information", "min_information", "share of the picture in which anything is to be seen"),
    Check(Reason.DARK, "bright", "min_bright", "gray value of the brightest hundredth"),
    Check(Reason.LIGHT, "dim", "max_dim", "gray value of the darkest hundredth"),
    Check(Reason.BLURRED, "sharpness", "min_sharpness", "share of the contrast that a further blur takes away"),
    Check(Reason.TEXT, "text", "max_text", "share of what is to be seen that is strokes on even ground"),
    Check(Reason.COLLAGE, "collage", "max_collage", "share of the height or width along which the picture breaks off"),
)
"""In this order: what has no picture in it is not blurred too."""
_OF_REASON = {check.reason: check for check in CHECKS}


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that a picture fails, its value and the threshold."""

    reason: Reason
    value: float
    threshold: float


def find(measures: Mapping[str, float], settings: QualitySettings) -> Finding | None:
    """Give the first check that a picture fails, or None. What was not measured passes."""
    if not settings.enabled:
        return None
    for check in CHECKS:
        threshold = float(getattr(settings, check.key))
        value = measures.get(check.measure)
        if value is not None and check.fails(value, threshold):
            return Finding(check.reason, value, threshold)
    return None


def value_of(reason: Reason, measures: Mapping[str, float], settings: QualitySettings) -> tuple[float, float] | None:
    """Give value and present threshold for a reason, or None where no check stands behind it."""
    check = _OF_REASON.get(reason)
    if check is None or check.measure not in measures:
        return None
    return measures[check.measure], float(getattr(settings, check.key))
