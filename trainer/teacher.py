"""A finished run as the teacher of another: what it would say of each picture stands in for the label.

Distillation (Hinton et al., 2015) as "patient and consistent" function matching (Beyer et al., CVPR 2022): teacher and
student see the very same varied and mixed picture, labels are not asked, and the schedule is long.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from trainer.errors import WeightsError
from trainer.predict import Predictor


@dataclass(frozen=True)
class Teacher:
    """A network that no longer learns, and how soft its answers are made."""

    predictor: Predictor
    temperature: float

    @classmethod
    def load(cls, folder: Path, classes: tuple[str, ...], device: str, temperature: float) -> "Teacher":
        """Load a run. Raises WeightsError when it is not finished, was altered, or knows other classes."""
        predictor = Predictor.load(folder, device, backend="torch")
        if predictor.classes != classes:
            raise WeightsError(
                f"the teacher {folder.name} knows {', '.join(predictor.classes)}, and not {', '.join(classes)};"
                " train it on the present classes"
            )
        return cls(predictor, temperature)

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """Give (B, classes) probabilities for (B, 3, side, side) input, resized to what the teacher answers at."""
        size = self.predictor.size
        if images.shape[-1] != size:
            images = functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
        self.predictor.model.eval()
        with self.predictor.precision.autocast():
            outputs = self.predictor.model(images.contiguous(memory_format=torch.channels_last))
        return functional.softmax(outputs.float() / self.temperature, dim=1)
