"""The one way in which a file becomes RGB pixels, for hashing, training and prediction alike."""

import contextlib

import numpy as np
from PIL import Image, ImageOps

BACKGROUND = (255, 255, 255)
"""Seen through transparent pixels: catalogue cut-outs are meant for a white page."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn an opened image upright and convert it to 8-bit RGB.

    EXIF orientation is applied; an animation gives its first frame; 16-bit gray is scaled to 8 bits; transparency is
    laid over white; CMYK goes by Pillow's plain conversion, without a colour profile. Raises whatever the decoder does.
    `image` itself is turned, and given back where it is RGB: copying it took longer than decoding it.
    """
    image.load()
    # A damaged EXIF block says nothing about the pixels: the picture is then taken as it lies.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode in {"I", "I;16", "I;16L", "I;16B", "I;16N"}:
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        canvas.alpha_composite(image)
        image = canvas
    return image if image.mode == "RGB" else image.convert("RGB")
