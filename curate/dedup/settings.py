"""`[dedup]` of `curate.toml`."""

from pydantic import Field

from curate.section import Section


class DedupSettings(Section):
    """When two images are the same photograph."""

    descriptor: str = "imagenet"
    """Network whose features help to find copies: `imagenet` (SqueezeNet 1.1 with torchvision's weights, 5 MB, fetched
    once), a safetensors file with its weights, or `none`."""
    distance: int = Field(default=6, ge=0, le=16)
    """Bits in which two 64-bit pHashes may differ for the pair to be looked at."""
    neighbours: int = Field(default=3, ge=0, le=50)
    """Images most alike in each part of their layouts that a new one is compared with; 0 leaves it to hashes alone."""
    likeness: float = Field(default=0.635, ge=0, le=1)
    """Of two pictures laid over each other: how much of the detail of the plainer one the other must show, too."""
    difference: float = Field(default=3.0, gt=0)
    """For pictures with too little detail: mean absolute difference of 48 x 48 RGB thumbnails, 0-255, to stay under."""
