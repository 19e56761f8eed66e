"""Two rollouts side by side at equal time, as a GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.evaluation.report.clip import Clip
from policytrim_gym.evaluation.report.clip_drawing import COLORS, draw_page, pillow

if TYPE_CHECKING:
    from PIL.Image import Image

_HOLD_S = 1.5  # how long the last frame stands before the loop starts again
# Tried in turn until the file is small enough: share of the width, colours, steps left out.
_LADDER = ((1.0, 128, 1), (1.0, 64, 1), (0.75, 64, 1), (0.75, 48, 2), (0.5, 48, 2), (0.5, 32, 4), (0.35, 32, 8))


def side_by_side_gif(
    left: Clip,
    right: Clip,
    *,
    control_dt_s: float = 0.05,
    stride: int = 2,
    width_px: int = 260,
    max_bytes: int = 1_500_000,
) -> bytes:
    """Returns a looping GIF of two rollouts at equal time.

    Whoever is done first freezes with a check mark and its steps and calls. What each clip shows: `draw_page`. A GIF cannot
    show a frame for less than 20 ms: the stride is raised until it need not.

    Args:
        left, right: the rollouts.
        control_dt_s: duration of a control step [s].
        stride: every how many steps a frame is taken.
        width_px: width of one clip.
        max_bytes: above it, size, colours and frames are reduced in steps; the smallest is returned when none fits.

    Raises:
        InvalidSpec: a number that is not positive.
        MissingExtra: pillow is not installed.
    """
    for name, value in (("control_dt_s", control_dt_s), ("stride", stride), ("width_px", width_px), ("max_bytes", max_bytes)):
        if not value > 0:
            raise InvalidSpec(f"{name} must be above 0, got {value}")
    stride = max(stride, int(np.ceil(0.02 / control_dt_s - 1e-9)))
    data = b""
    for scale, colors, skip in _LADDER:
        data = _encode(left, right, max(64, round(width_px * scale)), stride * skip, colors, control_dt_s)
        if len(data) <= max_bytes:
            break
    return data


def _encode(left: Clip, right: Clip, width: int, stride: int, colors: int, control_dt_s: float) -> bytes:
    image = pillow().Image
    total = max(left.num_steps, right.num_steps)
    shown = list(range(stride, total, stride)) + [total]
    frames = [draw_page((left, right), width, steps, total) for steps in shown]
    palette = _shared_palette(frames, colors)
    # One palette without dithering: unchanged pixels stay unchanged. `optimize` writes them as transparent: a ninth of the size.
    pages = [frame.quantize(palette=palette, dither=image.Dither.NONE) for frame in frames]
    gaps = np.diff([0, *shown])
    durations = [max(20, 10 * round(100 * control_dt_s * int(gap))) for gap in gaps]
    durations[-1] += int(1000 * _HOLD_S)
    buffer = io.BytesIO()
    pages[0].save(buffer, format="GIF", save_all=True, append_images=pages[1:], duration=durations, loop=0, optimize=True)
    return buffer.getvalue()


def _shared_palette(frames: Sequence[Image], colors: int) -> Image:
    """Returns one palette for a few frames spread over the clip, in which the colours of captions and bars are exact."""
    image = pillow().Image
    chosen = [frames[index] for index in sorted({*np.linspace(0, len(frames) - 1, 6, dtype=int).tolist()})]
    width, height = chosen[0].size
    sheet = image.new("RGB", (width, height * len(chosen)))
    for row, frame in enumerate(chosen):
        sheet.paste(frame, (0, row * height))
    # Of pillow's methods, median cut loses what is small and bright, as the marker of a goal in a camera's image.
    kept = sheet.quantize(colors=colors - len(COLORS), method=image.Quantize.FASTOCTREE)
    found = (kept.getpalette() or [])[: 3 * (colors - len(COLORS))]
    palette = image.new("P", (1, 1))
    palette.putpalette([*(value for color in COLORS for value in color), *found])
    return palette
