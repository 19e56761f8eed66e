"""Laws of image preparation."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.errors import MissingObservation
from policytrim_gym.policies.pi0_images import prepare_image


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(256, size=(height, width, 3), dtype=np.uint8)


def test_an_image_of_the_models_size_keeps_its_numbers() -> None:
    image = random_image(28, 28)
    np.testing.assert_allclose(prepare_image(image, 28).transpose(1, 2, 0), image / 255 * 2 - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((8, 8, 3), np.float32), 'observation."front".* must be uint8 in 0..255, got float32'),
        (np.zeros((8, 8), np.uint8), r"\(height, width, 3\), got \(8, 8\)"),
        (np.zeros((3, 8, 8), np.uint8), r"got \(3, 8, 8\)"),
        (np.zeros((0, 8, 3), np.uint8), r"got \(0, 8, 3\)"),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray, words: str) -> None:
    with pytest.raises(MissingObservation, match=words):
        prepare_image(image, 28, "front")
