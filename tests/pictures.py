"""Small real pictures, in every shape that an image can come in."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A picture of smooth random colour, another one for each seed: its hash is far from the others'."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, image_format: str = "JPEG", **options: Any) -> bytes:  # noqa: ANN401 - Pillow's options
    """The file that `image` makes."""
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def jpeg(seed: int, size: tuple[int, int] = (120, 90), quality: int = 90) -> bytes:
    """A JPEG of `picture(seed)`."""
    return encoded(picture(seed, size), quality=quality)


def write_folder(root: Path, classes: dict[str, range], size: tuple[int, int] = (64, 64)) -> Path:
    """A folder with a subfolder a class, and in it a picture a seed, coloured so that classes can be learned."""
    for index, (name, seeds) in enumerate(classes.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            (folder / f"{seed}.jpg").write_bytes(encoded(coloured(index, seed, size), quality=92))
    return root


def coloured(index: int, seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A noisy picture whose tint says its class: easy for a network, and no two alike."""
    rng = np.random.default_rng(1000 * index + seed)
    tint = np.array([(220, 60, 60), (60, 220, 60), (60, 60, 220), (220, 220, 60), (220, 60, 220)][index % 5])
    noise = rng.integers(-90, 90, (8, 8, 3))
    pixels = np.clip(tint + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
