"""Why an image is asked for, in words."""

from collections.abc import Mapping

from curate.queue.state import Waiting
from curate.strategies import uniform

DRAWN = uniform.BECAUSE
CONFLICT = "labels of its copies differ"
ASIDE = "perhaps none of the classes"


def guess(image: Waiting, classes: Mapping[str, int]) -> str | None:
    """Class that an image is taken for: by the best run, else by the query that found it."""
    if image.said:
        return list(classes)[max(range(len(image.said)), key=image.said.__getitem__)]
    return image.guess


def belief(image: Waiting, missing: Mapping[str, int], target: int) -> str:
    """What is believed of an image, and what labels of its class are worth."""
    name = guess(image, missing)
    if name is None:
        return "nothing is known of it yet"
    need = f"which lacks {missing[name]} of {target}" if missing[name] else "which has its target"
    if not image.said:
        return f"no prediction yet; collected for {name}, {need}"
    first, *others = sorted(zip(image.said, missing, strict=True), key=lambda one: -one[0])
    second = f", before {others[0][1]} at {others[0][0]:.2f}" if others else ""
    return f"{name} at {first[0]:.2f}, {need}{second}"
