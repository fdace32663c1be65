"""What a second look needs of one picture: local features, and a small copy in colour."""

import io
import threading
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from db.errors import StoreError
from trainer.pixels import to_rgb

Rgb = NDArray[np.uint8]
"""Pixels, shape (height, width, 3)."""

SIDE = 176
"""Pixels of the longer side at which pictures are looked at."""
_FEATURES = 150
_LEAST_CONTRAST = 0.02
_MIRRORED = np.arange(128).reshape(4, 4, 8)[::-1][:, :, (-np.arange(8)) % 8].ravel()
"""How the values of a SIFT descriptor are rearranged when its picture is mirrored: no second search for features."""
_of_thread = threading.local()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture at SIDE pixels. `points` (n, 2) are x, y; `descriptors` (n, 128) have unit length."""

    rgb: Rgb
    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]

    def mirrored(self) -> "Picture":
        """The same picture, left and right exchanged."""
        points = self.points * (-1, 1) + (self.rgb.shape[1] - 1, 0)
        return Picture(self.rgb[:, ::-1], points.astype(np.float32), self.descriptors[:, _MIRRORED])


def read_rgb(data: bytes, name: str = "a stored image") -> Rgb:
    """Decode to RGB, the longer side SIDE pixels. JPEGs are decoded no larger than needed.

    Raises StoreError, with the image's name: what is stored was whole once.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            rgb = np.asarray(to_rgb(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise StoreError(f"{name} is damaged ({error}); `curate doctor` finds all such") from error
    scale = SIDE / max(rgb.shape[:2])
    size = (max(8, round(rgb.shape[1] * scale)), max(8, round(rgb.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=way), np.uint8)


def look_at(data: bytes, name: str = "a stored image") -> Picture:
    """Find a picture's SIFT features (Lowe 2004), as RootSIFT (Arandjelovic and Zisserman 2012)."""
    rgb = read_rgb(data, name)
    if not hasattr(_of_thread, "sift"):
        _of_thread.sift = cv2.SIFT.create(
            nfeatures=_FEATURES, contrastThreshold=_LEAST_CONTRAST, enable_precise_upscale=True
        )
    keypoints, found = _of_thread.sift.detectAndCompute(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), None)
    if found is None:
        return Picture(rgb, np.empty((0, 2), np.float32), np.empty((0, 128), np.float32))
    points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return Picture(rgb, points, np.sqrt(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-6)))
