"""Camera images as the vision tower of pi0 takes them, in numpy: its own image processor needs torchvision."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MissingObservation


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
    return (resize_with_pad(image, size).astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)


def resize_with_pad(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Returns the image fitted into a square and centred there, as openpi does: bilinear, averaging where it shrinks, black margins.

    Args:
        image: (height, width, 3).
        size: of the square [pixels].
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    ratio = max(height, width) / size
    new_height, new_width = max(1, int(height / ratio)), max(1, int(width / ratio))
    rows, columns = _resampling(height, new_height), _resampling(width, new_width)
    resized = np.einsum("ih,hwc,jw->ijc", rows, image.astype(np.float32), columns, optimize=True)
    canvas = np.zeros((size, size, 3), np.uint8)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    canvas[top : top + new_height, left : left + new_width] = np.clip(np.rint(resized), 0, 255)
    return canvas


@lru_cache(maxsize=64)
def _resampling(length: int, new_length: int) -> NDArray[np.float32]:
    """Returns the weights of a triangle filter, (new_length, length), whose width grows as the image shrinks."""
    scale = length / new_length
    support = max(1.0, scale)
    centres = (np.arange(new_length) + 0.5) * scale
    distance = np.abs(np.arange(length)[None] + 0.5 - centres[:, None]) / support
    weights = np.clip(1.0 - distance, 0.0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
