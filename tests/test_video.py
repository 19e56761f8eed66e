"""The side-by-side GIF: equal time, freeze at success, size and colours kept; each clip: the chunk and what its call saw."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from policytrim_gym.errors import InvalidHorizon, InvalidSpec
from policytrim_gym.evaluation.report.clip import Call, Clip
from policytrim_gym.evaluation.report.clip_drawing import COLORS, draw_page
from policytrim_gym.evaluation.report.video import side_by_side_gif

PAPER, INK, _, _, TRUSTED = COLORS
CHUNK_SIZE = 16
FRAME = np.zeros((4, 4, 3), dtype=np.uint8)


def moving_clip(
    caption: str,
    num_steps: int,
    horizon: int,
    success: bool = True,
    size: int = 48,
    extra: int = 0,
    noise: int = 0,
    cameras: dict | None = None,
) -> Clip:
    """Returns a clip of a square that moves; `cameras` holds their image sizes."""
    rng = np.random.default_rng(0)
    frames = []
    for step in range(num_steps + extra):
        frame = np.full((size, size, 3), 90, dtype=np.uint8) + rng.integers(0, noise + 1, (size, size, 3), dtype=np.uint8)
        x = (size - 8) * step // (num_steps + extra)
        frame[size // 2 : size // 2 + 8, x : x + 8] = (230, 120, 30)
        frames.append(frame)
    flags = range(num_steps + extra)
    calls = []
    for step in range(0, num_steps + extra, horizon):
        images = {camera: rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for camera, side in (cameras or {}).items()}
        calls.append(Call(step, CHUNK_SIZE, horizon, images))
    return Clip(caption, frames, [success and step >= num_steps - 1 for step in flags], calls)


def pages(data: bytes) -> list[tuple[np.ndarray, int]]:
    return [(np.asarray(page.convert("RGB")), page.info["duration"]) for page in ImageSequence.Iterator(Image.open(io.BytesIO(data)))]


def drawn(clip: Clip, steps: int, width: int = 260) -> np.ndarray:
    return np.asarray(draw_page((clip,), width, steps, clip.num_steps))


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


@pytest.mark.parametrize(("steps", "horizon", "running"), [(1, 6, 0), (6, 6, 5), (7, 6, 0), (9, 6, 2), (20, 16, 3), (16, 16, 15)])
def test_the_strip_shows_what_runs_of_the_chunk(steps: int, horizon: int, running: int) -> None:
    clip = moving_clip("base", 40, horizon)
    row = drawn(clip, steps)[26 + 260 + 28]  # below caption and square frame, through the middle of the cells
    starts = np.linspace(6, 254, CHUNK_SIZE + 1).round().astype(int)[:-1]
    inside = [tuple(row[start + 4].tolist()) for start in starts]
    assert inside == [INK if index == running else TRUSTED if index < horizon else PAPER for index in range(CHUNK_SIZE)]


@pytest.mark.parametrize(("sides", "factor"), [((64,), 2), ((64, 64), 2), ((96, 96), 1), ((32, 32, 32), 2)])
def test_a_camera_is_shown_pixel_by_pixel(sides: tuple[int, ...], factor: int) -> None:
    clip = moving_clip("base", 12, 6, cameras={f"camera{index}": side for index, side in enumerate(sides)})
    for steps, call in ((6, clip.calls[0]), (7, clip.calls[1])):
        row = np.concatenate(
            [np.pad(image.repeat(factor, 0).repeat(factor, 1), ((0, 0), (0, 4), (0, 0))) for image in call.images.values()], 1
        )
        page = drawn(clip, steps)[-18 - sides[0] * factor : -18]
        left = (260 - row.shape[1] + 4) // 2
        for index in range(len(sides)):
            at = index * (sides[0] * factor + 4)
            part = slice(at, at + sides[0] * factor)
            np.testing.assert_array_equal(page[:, left + part.start : left + part.stop], row[:, part])


def test_a_large_image_is_shrunk_and_a_policy_that_sees_none_gets_no_room() -> None:
    blind, seeing = drawn(moving_clip("base", 6, 6), 3), drawn(moving_clip("base", 6, 6, cameras={"front": 400}), 3)
    assert seeing.shape == (blind.shape[0] + 20 + 130, 260, 3)
    assert drawn(moving_clip("base", 6, 6, cameras={"front": 400}), 3, width=91).shape[1] == 91


def test_between_calls_the_images_stand_still() -> None:
    clip = moving_clip("base", 12, 6, cameras={"front": 64})
    shown = [drawn(clip, steps)[-18 - 128 - 20 : -18] for steps in range(1, 13)]
    assert all(np.array_equal(shown[0], later) for later in shown[1:6]) and all(np.array_equal(shown[6], later) for later in shown[7:])
    assert not np.array_equal(shown[5], shown[6])


@pytest.mark.parametrize("chunk_size", [1, 100, 400])
@pytest.mark.parametrize("width", [64, 260])
def test_any_chunk_is_drawn(chunk_size: int, width: int) -> None:
    clip = Clip("base", [FRAME], [True], [Call(0, chunk_size, 1)])
    assert (drawn(clip, 1, width) == INK).all(axis=-1).any()


@pytest.mark.parametrize("width", [91, 130, 195, 260])
def test_words_do_not_run_into_each_other_or_out_of_the_clip(width: int) -> None:
    clip = moving_clip("trimmed, h=16", 140, 16, cameras={"front": 64})
    page = draw_page((clip,), width, 140, 140)
    paper = (np.asarray(page) == PAPER).all(axis=-1)
    caption, call = paper[:26], paper[26 + width : 26 + width + 20]
    assert caption[:, -6:].all() and call[:, -6:].all()
    inked = np.flatnonzero(~caption.all(axis=0))
    assert width < 195 or np.diff(inked).max() >= 6  # caption, a gap as wide as the margin, steps and calls


def test_size_is_reduced_until_it_fits() -> None:
    noisy = moving_clip("base", 60, 8, noise=120), moving_clip("trimmed", 30, 16, noise=120)
    free, tight = side_by_side_gif(*noisy, width_px=128, stride=1), side_by_side_gif(*noisy, width_px=128, stride=1, max_bytes=150_000)
    assert len(tight) <= 150_000 < len(free)


def test_what_stands_still_costs_nothing() -> None:
    """Caption, square and bar move in opposite corners: the box around what changed is the whole page."""
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    clip = Clip("base", [still] * 16, [False] * 16, [Call(0, 16, 16)])
    once, often = (len(side_by_side_gif(clip, clip, stride=stride)) for stride in (16, 1))
    assert often < 2 * once


def test_a_small_bright_marker_keeps_its_colour() -> None:
    """A goal is a few pixels of an image; shown grey, the viewer could not see what the policy saw."""
    rng = np.random.default_rng(0)
    scene = rng.normal((110, 90, 80), (45, 35, 30), (240, 260, 3)).clip(0, 255).astype(np.uint8)
    image = np.full((64, 64, 3), 90, dtype=np.uint8)
    image[30:34, 20:24] = (255, 0, 255)
    clip = Clip("base", [scene] * 4, [False] * 4, [Call(0, 4, 4, {"front": image})])
    last = pages(side_by_side_gif(clip, clip))[-1][0].astype(int)
    assert (np.abs(last - (255, 0, 255)).max(axis=-1) < 60).sum() == 2 * 8 * 8


def test_fast_control_is_not_slowed_down_by_the_format() -> None:
    gif = pages(side_by_side_gif(moving_clip("base", 80, 8), moving_clip("trimmed", 40, 16), control_dt_s=0.005, stride=1))
    assert sum(duration for _, duration in gif) == pytest.approx(80 * 5 + 1500, abs=10)


@pytest.mark.parametrize(
    ("frames", "success", "calls", "message"),
    [
        ([], [], [], "needs frames of one shape"),
        ([np.zeros((4, 4))], [True], [Call(0, 1, 1)], "needs frames of one shape"),
        ([FRAME], [True, False], [Call(0, 1, 1)], "needs one success flag a frame, got 1 frames and 2 flags"),
        ([FRAME], [True], [], "needs calls whose horizons cover its 1 steps"),
        ([FRAME] * 2, [True] * 2, [Call(1, 4, 4)], r"got horizons \[4\] at steps \[1\]"),
        ([FRAME] * 5, [True] * 5, [Call(0, 8, 4)], r"cover its 5 steps, got horizons \[4\]"),
        ([FRAME] * 5, [True] * 5, [Call(0, 8, 8), Call(5, 8, 8)], r"cover its 5 steps, got horizons \[8, 8\] at steps \[0, 5\]"),
        ([FRAME] * 2, [True] * 2, [Call(0, 1, 1), Call(1, 1, 1, {"front": FRAME})], "needs the same cameras and shapes at each call"),
    ],
)
def test_clips_that_do_not_fit_are_refused(frames: list, success: list, calls: list, message: str) -> None:
    with pytest.raises(InvalidSpec, match=f'clip "base" .*{message}'):
        Clip("base", frames, success, calls)


def test_a_call_checks_its_horizon_and_images() -> None:
    with pytest.raises(InvalidHorizon):
        Call(0, 8, 9)
    with pytest.raises(InvalidSpec, match=r'got \(4, 4, 3\) of float64 from camera "front"'):
        Call(0, 8, 8, {"front": np.zeros((4, 4, 3))})  # type: ignore[dict-item]


def test_a_stride_below_one_is_refused() -> None:
    clip = moving_clip("base", 4, 2)
    with pytest.raises(InvalidSpec, match="stride must be above 0, got 0"):
        side_by_side_gif(clip, clip, stride=0)
