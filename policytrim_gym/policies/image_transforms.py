"""Transforms of one camera image, from what an environment gives to what a model takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MismatchedTransform, MissingExtra


def resize_with_pad(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Scales an image into a frame without distorting it, bilinearly, and fills the rest with black on both sides alike.

    The same pixels as `resize_with_pad` of openpi-client's image tools, by which pi0's clients shrink what they send.

    Args:
        image: (H, W, 3) uint8.
        height, width: of the frame [pixels].

    Returns:
        (height, width, 3) uint8.
    """
    _check_size(height, width)
    _check_pixels(image)
    if image.shape[:2] == (height, width):
        return image
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra('resizing images needs pillow: pip install "policytrim[report]"') from error
    shrink = max(image.shape[1] / width, image.shape[0] / height)
    # Cut down, not rounded, as the official tool does; an image of one row must keep it.
    rows, columns = (max(1, int(size / shrink)) for size in image.shape[:2])
    resized = Image.fromarray(np.ascontiguousarray(image)).resize((columns, rows), resample=Image.Resampling.BILINEAR)
    top, left = (height - rows) // 2, (width - columns) // 2
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    frame[top : top + rows, left : left + columns] = np.asarray(resized)
    return frame


def rotate_180(image: NDArray[Any]) -> NDArray[Any]:
    """Turns an image upside down: both image axes are reversed.

    LIBERO's renderer gives images upside down, and the demonstrations that models are trained on were turned. Its own inverse.

    Args:
        image: (H, W, C).
    """
    return _checked_image(image)[::-1, ::-1]


def flip_vertical(image: NDArray[Any]) -> NDArray[Any]:
    """Reverses the rows of an image (H, W, C), as a picture from OpenGL needs whose first row is the bottom. Its own inverse."""
    return _checked_image(image)[::-1]


def reverse_channels(image: NDArray[Any]) -> NDArray[Any]:
    """Turns BGR into RGB and back: the channels of an image (H, W, C) in reverse, as OpenCV's cameras need. Its own inverse."""
    return _checked_image(image)[..., ::-1]


def center_crop(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Cuts the middle out of an image.

    Args:
        image: (H, W, C).
        height, width: of the cut [pixels], at most H and W.
    """
    _check_size(height, width)
    rows, columns = _checked_image(image).shape[:2]
    if height > rows or width > columns:
        raise MismatchedTransform(f"the cut of {height} x {width} must fit into the image, got {rows} x {columns}")
    top, left = (rows - height) // 2, (columns - width) // 2
    return image[top : top + height, left : left + width]


def to_float(image: NDArray[np.uint8], low: float = 0.0, high: float = 1.0) -> NDArray[np.float32]:
    """Scales bytes 0..255 to low..high, any shape; inverse of `to_uint8`. pi0's own images are in -1..1."""
    if image.dtype != np.uint8:
        raise MismatchedTransform(f"expected uint8, got {image.dtype}")
    return (low + (high - low) / 255.0 * image).astype(np.float32)


def to_uint8(image: NDArray[Any], low: float = 0.0, high: float = 1.0) -> NDArray[np.uint8]:
    """Scales floats low..high to bytes 0..255, any shape, and leaves bytes alone; inverse of `to_float`.

    Unlike `convert_to_uint8` of openpi-client, which cuts down, it rounds to the nearest level: a byte that became a float comes back.

    Raises:
        MismatchedTransform: a float outside low..high; it would wrap around to a wrong colour.
    """
    if image.dtype == np.uint8:
        return image
    levels = np.rint((np.asarray(image, dtype=np.float64) - low) * (255.0 / (high - low))) if high > low else np.full(1, np.nan)
    if not ((levels >= 0) & (levels <= 255)).all():
        raise MismatchedTransform(f"expected floats in {low:g}..{high:g}, got {np.min(image):g}..{np.max(image):g}")
    return levels.astype(np.uint8)


def channels_first(image: NDArray[Any]) -> NDArray[Any]:
    """Turns (H, W, C) into (C, H, W), as PyTorch and openpi's ALOHA policy take images; inverse of `channels_last`."""
    return np.moveaxis(_checked_image(image), -1, 0)


def channels_last(image: NDArray[Any]) -> NDArray[Any]:
    """Turns (C, H, W) into (H, W, C); inverse of `channels_first`."""
    return np.moveaxis(_checked_image(image), 0, -1)


def _checked_image(image: NDArray[Any]) -> NDArray[Any]:
    if image.ndim != 3:
        raise MismatchedTransform(f"expected an image of three axes, got shape {image.shape}")
    return image


def _check_pixels(image: NDArray[Any]) -> None:
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise MismatchedTransform(
            f"expected an image (H, W, 3) uint8, got {image.shape} {image.dtype}; to_uint8 and channels_last may go first"
        )


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise MismatchedTransform(f"height and width must be at least 1, got {height} and {width}")
