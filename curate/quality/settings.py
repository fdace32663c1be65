"""`[quality]` of `curate.toml`. How its defaults were found stands in `docs/decisions.md`."""

from pydantic import Field, model_validator

from curate.section import Section


class QualitySettings(Section):
    """When an image is set aside as too poor a picture. A threshold of 0 switches its check off."""

    enabled: bool = True
    """Whether anything is set aside at all; measures are taken in any case."""
    min_side: int = Field(default=96, ge=0)
    """Pixels of the shorter side."""
    max_aspect: float = Field(default=3.7, ge=0)
    """Longer side through shorter side. A guitar that is cut out closely has up to 3.5."""
    min_information: float = Field(default=0.01, ge=0, le=1)
    """Share of the picture in which anything is to be seen: less is blank, or nearly of one colour."""
    min_bright: float = Field(default=64.0, ge=0, le=255)
    """Gray value that one pixel in a hundred must be above: less is too dark."""
    max_dim: float = Field(default=200.0, ge=0, le=255)
    """Gray value that one pixel in a hundred must be below: more is overexposed. White round a thing does not count."""
    min_sharpness: float = Field(default=0.4, ge=0, le=1)
    """Share of the contrast between neighbouring pixels that a further blur takes away, at 256 pixels a side."""
    max_text: float = Field(default=0.81, ge=0, le=1)
    """Share of what is to be seen that is thin strokes on even ground: more is a page or a screen."""
    max_collage: float = Field(default=0.66, ge=0, le=1)
    """Share of the height or width along which the picture breaks off where several would meet."""

    @model_validator(mode="after")
    def _possible_aspect(self) -> "QualitySettings":
        if 0 < self.max_aspect < 1:
            raise ValueError(f"max_aspect ({self.max_aspect}) is longer side through shorter side: 1 or more, or 0")
        return self
