"""Two rollouts side by side at equal time, as a GIF."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidSpec, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

_PAPER, _INK, _MUTED, _TRACK, _DONE = (20, 24, 29), (240, 243, 246), (150, 160, 171), (52, 60, 69), (47, 199, 154)
_CAPTION_PX, _BAR_PX, _GAP_PX = 26, 18, 6
_HOLD_S = 1.5  # how long the last frame stands before the loop starts again
# Tried in turn until the file is small enough: share of the width, colours, steps left out.
_LADDER = ((1.0, 128, 1), (1.0, 64, 1), (0.75, 64, 1), (0.75, 48, 2), (0.5, 48, 2), (0.5, 32, 4), (0.35, 32, 8))


@dataclass(frozen=True, eq=False)
class Clip:
    """The frames of one rollout.

    Args:
        caption: shown above, "base" or "trimmed".
        frames: what was seen after each control step, (num_steps,) of (height, width, 3) uint8.
        success: whether the task was done after each step, (num_steps,); the clip freezes at the first.
        replans: whether the policy was asked before each step, (num_steps,).

    Raises:
        InvalidSpec: no frame, frames of unequal or wrong shape, or flags of another length.

    >>> frame = np.zeros((8, 8, 3), dtype=np.uint8)
    >>> Clip("base", [frame] * 3, [False, True, True], [True, False, False]).num_steps
    2
    """

    caption: str
    frames: Sequence[NDArray[np.uint8]]
    success: Sequence[bool]
    replans: Sequence[bool]

    def __post_init__(self) -> None:
        shapes = {np.shape(frame) for frame in self.frames}
        if len(shapes) != 1 or len(shape := next(iter(shapes))) != 3 or shape[2] != 3:
            raise InvalidSpec(f'clip "{self.caption}" needs frames of one shape (height, width, 3), got {sorted(shapes, key=str)}')
        if not len(self.frames) == len(self.success) == len(self.replans):
            raise InvalidSpec(
                f'clip "{self.caption}" needs one success and one replan flag a frame, '
                f"got {len(self.frames)} frames, {len(self.success)} and {len(self.replans)} flags"
            )

    @property
    def succeeded(self) -> bool:
        """Whether the task was done at some step."""
        return any(self.success)

    @property
    def num_steps(self) -> int:
        """Steps until the first success, or all."""
        return list(self.success).index(True) + 1 if self.succeeded else len(self.frames)

    def num_replans(self, steps: int) -> int:
        """Calls within the first `steps` steps."""
        return sum(bool(flag) for flag in self.replans[: min(steps, self.num_steps)])


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

    Whoever is done first freezes with a check mark and its steps and calls. Below each clip a bar runs to the end of the longer one,
    with a notch at each call. A GIF cannot show a frame for less than 20 ms: the stride is raised until it need not.

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
    image, _, _ = _pillow()
    total = max(left.num_steps, right.num_steps)
    shown = list(range(stride, total, stride)) + [total]
    frames = list(_composed(left, right, width, total, shown))
    palette = _shared_palette(frames, colors)
    # One palette without dithering: unchanged pixels stay unchanged, which is what GIF compresses.
    pages = [frame.quantize(palette=palette, dither=image.Dither.NONE) for frame in frames]
    gaps = np.diff([0, *shown])
    durations = [max(20, 10 * round(100 * control_dt_s * int(gap))) for gap in gaps]
    durations[-1] += int(1000 * _HOLD_S)
    buffer = io.BytesIO()
    pages[0].save(buffer, format="GIF", save_all=True, append_images=pages[1:], duration=durations, loop=0, optimize=False)
    return buffer.getvalue()


def _composed(left: Clip, right: Clip, width: int, total: int, shown: Sequence[int]) -> Iterator[Image]:
    """Yields the page after each number of steps in `shown`."""
    image, _, font_of = _pillow()
    font = font_of(max(10, width // 18))
    heights = [round(width * np.shape(clip.frames[0])[0] / np.shape(clip.frames[0])[1]) for clip in (left, right)]
    size = (2 * width + _GAP_PX, _CAPTION_PX + max(heights) + _BAR_PX)
    for steps in shown:
        page = image.new("RGB", size, _PAPER)
        for clip, x, height in ((left, 0, heights[0]), (right, width + _GAP_PX, heights[1])):
            _draw_clip(page, clip, x, width, height, steps, total, font)
        yield page


def _draw_clip(page: Image, clip: Clip, x: int, width: int, height: int, steps: int, total: int, font: FreeTypeFont | ImageFont) -> None:
    image, draw_of, _ = _pillow()
    now = min(steps, clip.num_steps)
    done = clip.succeeded and steps >= clip.num_steps
    frame = image.fromarray(np.ascontiguousarray(clip.frames[now - 1], dtype=np.uint8)).resize((width, height))
    page.paste(frame, (x, _CAPTION_PX))
    draw = draw_of(page)
    calls = clip.num_replans(now)
    draw.text((x + 6, _CAPTION_PX // 2), clip.caption, fill=_INK, font=font, anchor="lm")
    words = f"{now} steps, {calls} call{'s' if calls != 1 else ''}"
    draw.text((x + width - 6, _CAPTION_PX // 2), words, fill=_DONE if done else _MUTED, font=font, anchor="rm")
    _draw_bar(draw, clip, x, _CAPTION_PX + height, width, now, total)
    if done:
        _draw_check(draw, x + width - 22, _CAPTION_PX + 22)
    elif steps >= total:
        draw.text((x + width - 6, _CAPTION_PX + 12), "not done", fill=_INK, font=font, anchor="rm")


def _draw_bar(draw: ImageDraw, clip: Clip, x: int, y: int, width: int, now: int, total: int) -> None:
    """Draws time as a bar, with a notch at each call."""
    left, span = x + 6, width - 12
    middle = y + _BAR_PX // 2
    draw.rectangle((left, middle - 2, left + span, middle + 2), fill=_TRACK)
    draw.rectangle((left, middle - 2, left + round(span * now / total), middle + 2), fill=_DONE if now == clip.num_steps else _MUTED)
    for step in np.flatnonzero(np.asarray(clip.replans[:now], dtype=bool)):
        at = left + round(span * int(step) / total)
        draw.line((at, middle - 6, at, middle + 6), fill=_INK, width=1)


def _draw_check(draw: ImageDraw, x: int, y: int) -> None:
    """Draws a check mark in a disc around (x, y)."""
    draw.ellipse((x - 14, y - 14, x + 14, y + 14), fill=_DONE)
    draw.line((x - 7, y, x - 2, y + 6, x + 7, y - 6), fill=_PAPER, width=4, joint="curve")


def _shared_palette(frames: Sequence[Image], colors: int) -> Image:
    """Returns one palette for a few frames spread over the clip, in which the colours of captions and bars are exact."""
    image, _, _ = _pillow()
    chosen = [frames[index] for index in sorted({*np.linspace(0, len(frames) - 1, 6, dtype=int).tolist()})]
    width, height = chosen[0].size
    sheet = image.new("RGB", (width, height * len(chosen)))
    for row, frame in enumerate(chosen):
        sheet.paste(frame, (0, row * height))
    drawn = (_PAPER, _INK, _MUTED, _TRACK, _DONE)
    found = (sheet.quantize(colors=colors - len(drawn)).getpalette() or [])[: 3 * (colors - len(drawn))]
    palette = image.new("P", (1, 1))
    palette.putpalette([*(value for color in drawn for value in color), *found])
    return palette


def _pillow():  # type: ignore[no-untyped-def]
    """Returns pillow's Image module, the drawing constructor and a function size -> font."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise MissingExtra('videos need pillow: pip install "policytrim[report]"') from error
    return Image, ImageDraw.Draw, lambda size: ImageFont.load_default(size=size)
