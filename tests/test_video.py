"""The side-by-side GIF: equal time, freeze at success, size kept."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.evaluation.report.video import Clip, side_by_side_gif


def moving_clip(caption: str, num_steps: int, horizon: int, success: bool = True, size: int = 48, extra: int = 0, noise: int = 0) -> Clip:
    rng = np.random.default_rng(0)
    frames = []
    for step in range(num_steps + extra):
        frame = np.full((size, size, 3), 90, dtype=np.uint8) + rng.integers(0, noise + 1, (size, size, 3), dtype=np.uint8)
        x = (size - 8) * step // (num_steps + extra)
        frame[size // 2 : size // 2 + 8, x : x + 8] = (230, 120, 30)
        frames.append(frame)
    flags = range(num_steps + extra)
    return Clip(caption, frames, [success and step >= num_steps - 1 for step in flags], [step % horizon == 0 for step in flags])


def pages(data: bytes) -> list[tuple[np.ndarray, int]]:
    return [(np.asarray(page.convert("RGB")), page.info["duration"]) for page in ImageSequence.Iterator(Image.open(io.BytesIO(data)))]


def test_time_is_kept() -> None:
    gif = pages(side_by_side_gif(moving_clip("base", 40, 8), moving_clip("trimmed", 20, 16), control_dt_s=0.05, stride=3))
    assert sum(duration for _, duration in gif) == pytest.approx(40 * 50 + 1500, abs=10 * len(gif))


def test_the_finished_side_freezes() -> None:
    gif = pages(side_by_side_gif(moving_clip("base", 40, 8), moving_clip("trimmed", 10, 16, extra=5), stride=2, width_px=80))
    half = gif[0][0].shape[1] // 2
    right = [page[:, half + 3 :] for page, _ in gif]
    assert not np.array_equal(right[0], right[2])
    assert all(np.array_equal(right[6], later) for later in right[6:])
    left = [page[:, : half - 3] for page, _ in gif]
    assert not np.array_equal(left[-1], left[-4])


def test_a_clip_ends_at_its_first_success() -> None:
    clip = moving_clip("trimmed", 10, 4, extra=5)
    assert (clip.num_steps, clip.succeeded, clip.num_replans(99)) == (10, True, 3)
    failed = moving_clip("base", 10, 4, success=False, extra=5)
    assert (failed.num_steps, failed.succeeded) == (15, False)
    assert len(pages(side_by_side_gif(failed, clip, width_px=80))) > 1


def test_size_is_reduced_until_it_fits() -> None:
    noisy = moving_clip("base", 60, 8, noise=120), moving_clip("trimmed", 30, 16, noise=120)
    free, tight = side_by_side_gif(*noisy, width_px=128, stride=1), side_by_side_gif(*noisy, width_px=128, stride=1, max_bytes=150_000)
    assert len(tight) <= 150_000 < len(free)


def test_fast_control_is_not_slowed_down_by_the_format() -> None:
    gif = pages(side_by_side_gif(moving_clip("base", 80, 8), moving_clip("trimmed", 40, 16), control_dt_s=0.005, stride=1))
    assert sum(duration for _, duration in gif) == pytest.approx(80 * 5 + 1500, abs=10)


@pytest.mark.parametrize(
    ("frames", "success", "replans"),
    [([], [], []), ([np.zeros((4, 4))], [True], [True]), ([np.zeros((4, 4, 3))], [True, False], [True])],
)
def test_clips_that_do_not_fit_are_refused(frames: list, success: list, replans: list) -> None:
    with pytest.raises(InvalidSpec, match='clip "base" needs'):
        Clip("base", frames, success, replans)


def test_a_stride_below_one_is_refused() -> None:
    clip = moving_clip("base", 4, 2)
    with pytest.raises(InvalidSpec, match="stride must be above 0, got 0"):
        side_by_side_gif(clip, clip, stride=0)
