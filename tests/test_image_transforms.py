"""Laws of the transforms of images: openpi's own tool gives the same pixels, and inverse pairs are identities."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.errors import MismatchedTransform
from policytrim_gym.policies import image_transforms as transforms


def picture(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [(480, 640), (256, 256), (720, 1280), (224, 224), (97, 31), (3, 5), (1, 400)])
@pytest.mark.parametrize("frame", [(224, 224), (96, 64)])
def test_resize_with_pad_gives_the_pixels_of_openpis_own_tool(size, frame):
    image_tools = pytest.importorskip("openpi_client.image_tools")
    image = picture(*size, 3)
    if min(size) == 1:  # the official tool cuts a row away and then cannot resize
        assert transforms.resize_with_pad(image, *frame).shape == (*frame, 3)
    else:
        np.testing.assert_array_equal(transforms.resize_with_pad(image, *frame), image_tools.resize_with_pad(image, *frame))


def test_an_image_is_neither_distorted_nor_moved_off_the_middle():
    frame = transforms.resize_with_pad(np.full((50, 100, 3), 255, np.uint8), 200, 200)
    assert (frame[50:150] == 255).all() and not frame[:50].any() and not frame[150:].any()


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (transforms.rotate_180, transforms.rotate_180),
        (transforms.flip_vertical, transforms.flip_vertical),
        (transforms.reverse_channels, transforms.reverse_channels),
        (transforms.channels_first, transforms.channels_last),
        (transforms.to_float, transforms.to_uint8),
        (lambda image: transforms.to_float(image, -1.0, 1.0), lambda image: transforms.to_uint8(image, -1.0, 1.0)),
    ],
)
def test_inverse_pairs_are_identities(there, back):
    image = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    np.testing.assert_array_equal(back(there(image)), image)
    assert there(image).shape != image.shape or not np.array_equal(there(image), image)


def test_floats_become_the_bytes_of_openpis_own_tool_to_one_level():
    image_tools = pytest.importorskip("openpi_client.image_tools")
    image = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    difference = transforms.to_uint8(image).astype(int) - image_tools.convert_to_uint8(image)
    assert set(np.unique(difference)) <= {0, 1}


def test_a_crop_is_the_middle():
    image = picture(10, 8, 3)
    np.testing.assert_array_equal(transforms.center_crop(image, 4, 6), image[3:7, 1:7])
    np.testing.assert_array_equal(transforms.center_crop(image, 10, 8), image)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transforms.resize_with_pad(np.zeros((4, 4, 3)), 2, 2), "uint8, got .* float64; to_uint8"),
        (lambda: transforms.resize_with_pad(picture(4, 4), 2, 2), r"got \(4, 4\)"),
        (lambda: transforms.resize_with_pad(picture(4, 4, 3), 0, 2), "at least 1, got 0 and 2"),
        (lambda: transforms.center_crop(picture(4, 4, 3), 5, 2), "must fit into the image, got 4 x 4"),
        (lambda: transforms.to_uint8(np.array([0.5, 1.5])), r"floats in 0..1, got 0.5..1.5"),
        (lambda: transforms.to_uint8(np.array([np.nan])), "got nan"),
        (lambda: transforms.to_float(np.zeros(3)), "expected uint8, got float64"),
        (lambda: transforms.rotate_180(picture(4, 4)), "three axes"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given(call, message):
    with pytest.raises(MismatchedTransform, match=message):
        call()
