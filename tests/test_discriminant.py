"""`trainer.discriminant`: what it makes of features that tell nothing."""

import numpy as np

from trainer.discriminant import Discriminant


def test_a_feature_that_differs_by_rounding_tells_nothing() -> None:
    """As a dead channel's: what a runtime that rounds otherwise gives is answered alike."""
    rng = np.random.default_rng(0)
    labels = np.arange(16) % 2
    rounding = np.float32(1e-6) + 1e-13 * rng.normal(size=16)
    features = np.stack([labels + rng.normal(0, 0.3, 16), rounding], axis=1).astype(np.float32)
    found = Discriminant().learn(features, labels)
    otherwise = np.stack([features[:, 0], features[:, 1] + np.float32(1e-12)], axis=1)
    difference = found.outputs(otherwise) - found.outputs(features)
    assert np.abs(difference).max() < 1e-5
