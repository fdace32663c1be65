"""A share of the images, drawn at random and always the same ones."""

import hashlib

from curate.config import Settings


def falls_within(image_id: int, share: float, settings: Settings, purpose: str = "hidden") -> bool:
    """Whether an image is of the `share` that the dataset's seed draws for a `purpose`."""
    drawn = hashlib.sha256(f"{settings.dataset.seed} {purpose} {image_id}".encode()).digest()[:8]
    return int.from_bytes(drawn) < share * 2**64
