"""Camera images as the vision tower of pi0 takes them, without torchvision, which its own image processor needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MissingObservation
from policytrim_gym.policies.image_transforms import channels_first, resize_with_pad, to_float


def prepare_image(image: NDArray[np.uint8], size: int, name: str = "image") -> NDArray[np.float32]:
    """Returns an image of any size as (3, size, size) in [-1, 1], its proportions kept, black where it does not reach.

    Args:
        image: (height, width, 3) uint8.
        size: of the square that the model sees [pixels].
        name: key in the observation, for messages.

    Raises:
        MissingObservation: not uint8, or not (height, width, 3); floats have no agreed range.

    >>> prepare_image(np.full((2, 4, 3), 255, np.uint8), size=4)[0]
    array([[-1., -1., -1., -1.],
           [ 1.,  1.,  1.,  1.],
           [ 1.,  1.,  1.,  1.],
           [-1., -1., -1., -1.]], dtype=float32)
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise MissingObservation(f'observation["{name}"] must be uint8 in 0..255, got {image.dtype}')
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise MissingObservation(f'observation["{name}"] must have shape (height, width, 3), got {image.shape}')
    return channels_first(to_float(resize_with_pad(image, size, size), -1.0, 1.0))
