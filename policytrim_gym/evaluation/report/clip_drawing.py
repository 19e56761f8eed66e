"""Draws rollouts side by side at one moment: from outside, the chunk that runs, and what the policy saw when it was asked."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MissingExtra
from policytrim_gym.evaluation.report.clip import Call, Clip

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

_PAPER, _INK, _MUTED, _TRACK, _DONE = (20, 24, 29), (240, 243, 246), (150, 160, 171), (52, 60, 69), (47, 199, 154)
COLORS = (_PAPER, _INK, _MUTED, _TRACK, _DONE)
"""All that is drawn around the pictures."""

_GAP_PX, _MARGIN_PX, _CAPTION_PX, _CALL_PX, _SEEN_PX, _BAR_PX = 6, 6, 26, 38, 20, 18
_CAMERA_GAP_PX = 4  # two cameras of 64 pixels fill a clip of 260 at twice their size


def draw_page(clips: Sequence[Clip], width: int, steps: int, total: int) -> Image:
    """Returns the clips side by side, each as wide as `width` [px], after so many steps of the longest one's `total`.

    Each clip shows, from above: its caption; the frame; the present chunk, one cell an action, those that run filled, the present one
    white; the images that the policy was last called with, if it sees any; time, with a notch at each call. What is over stands still.

    Raises:
        MissingExtra: pillow is not installed.
    """
    columns = [_draw_clip(clip, width, min(steps, clip.num_steps), steps, total) for clip in clips]
    height = max(column.height for column in columns)
    return _placed(
        columns, [(index * (width + _GAP_PX), 0) for index in range(len(columns))], len(columns) * (width + _GAP_PX) - _GAP_PX, height
    )


def pillow() -> Any:
    """Returns pillow's package with the modules Image, ImageDraw and ImageFont; raises MissingExtra."""
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError as error:
        raise MissingExtra('videos need pillow: pip install "policytrim[report]"') from error
    return PIL


def _draw_clip(clip: Clip, width: int, now: int, steps: int, total: int) -> Image:
    calls = clip.num_replans(now)
    call = clip.calls[calls - 1]
    rows = [_draw_caption(clip, width, now, steps), _draw_frame(clip, width, now, steps, total), _draw_call(call, calls, width, now)]
    if call.images:
        rows.append(_draw_seen(call, calls, width))
    rows.append(_draw_time(clip, width, now, total))
    tops = np.cumsum([0, *(row.height for row in rows)]).tolist()
    return _placed(rows, [(0, top) for top in tops[:-1]], width, tops[-1])


def _draw_caption(clip: Clip, width: int, now: int, steps: int) -> Image:
    row, draw = _empty(width, _CAPTION_PX)
    calls = clip.num_replans(now)
    room = width - 3 * _MARGIN_PX - draw.textlength(clip.caption, _font(width))
    words = _fitting(draw, width, room, f"{now} steps, {calls} call{'s' if calls != 1 else ''}", f"{now} steps")
    draw.text((_MARGIN_PX, _CAPTION_PX // 2), clip.caption, fill=_INK, font=_font(width), anchor="lm")
    fill = _DONE if _is_done(clip, steps) else _MUTED
    draw.text((width - _MARGIN_PX, _CAPTION_PX // 2), words, fill=fill, font=_font(width), anchor="rm")
    return row


def _draw_frame(clip: Clip, width: int, now: int, steps: int, total: int) -> Image:
    """Returns the view from outside, with a check mark in a disc once the task is done."""
    frame = clip.frames[now - 1]
    picture = _image_of(frame).resize((width, round(width * np.shape(frame)[0] / np.shape(frame)[1])))
    draw = pillow().ImageDraw.Draw(picture)
    if _is_done(clip, steps):
        x, y = width - 22, 22
        draw.ellipse((x - 14, y - 14, x + 14, y + 14), fill=_DONE)
        draw.line((x - 7, y, x - 2, y + 6, x + 7, y - 6), fill=_PAPER, width=4, joint="curve")
    elif steps >= total:
        place: dict[str, Any] = {"xy": (width - 2 * _MARGIN_PX, 18), "text": "not done", "font": _font(width), "anchor": "rm"}
        left, top, right, bottom = draw.textbbox(**place)
        draw.rectangle((left - _MARGIN_PX, top - 4, right + _MARGIN_PX, bottom + 4), fill=_PAPER)  # a frame may be white
        draw.text(fill=_INK, **place)
    return picture


def _draw_call(call: Call, number: int, width: int, now: int) -> Image:
    """Returns the chunk as a strip of cells."""
    row, draw = _empty(width, _CALL_PX)
    share = f"{call.execute_horizon} of {call.chunk_size}"
    words = _fitting(draw, width, width - 2 * _MARGIN_PX, f"call {number} runs {share} actions", f"call {number} runs {share}", share)
    draw.text((_MARGIN_PX, 11), words, fill=_INK, font=_font(width), anchor="lm")
    edges = np.linspace(_MARGIN_PX, width - _MARGIN_PX, call.chunk_size + 1).round().astype(int).tolist()
    top, bottom = 22, 33
    for index, (left, right) in enumerate(zip(edges, edges[1:])):
        runs = index < call.execute_horizon
        draw.rectangle((left, top, max(left, right - 2), bottom), fill=_DONE if runs else None, outline=_DONE if runs else _MUTED)
    running = now - 1 - call.step
    draw.rectangle((edges[running], top - 2, max(edges[running] + 1, edges[running + 1] - 2), bottom + 2), fill=_INK)
    return row


def _draw_seen(call: Call, number: int, width: int) -> Image:
    """Returns the images of the call, enlarged by whole factors: what the policy saw, pixel by pixel."""
    count = len(call.images)
    room = ((width - _CAMERA_GAP_PX * (count - 1)) // count, width // 2)
    pictures = [_fitted(_image_of(image), *room) for image in call.images.values()]
    row, draw = _empty(width, _SEEN_PX + max(picture.height for picture in pictures))
    draw.text((_MARGIN_PX, _SEEN_PX // 2), f"call {number} saw", fill=_INK, font=_font(width), anchor="lm")
    x = (width - sum(picture.width for picture in pictures) - _CAMERA_GAP_PX * (count - 1)) // 2
    for picture in pictures:
        row.paste(picture, (x, _SEEN_PX))
        x += picture.width + _CAMERA_GAP_PX
    return row


def _draw_time(clip: Clip, width: int, now: int, total: int) -> Image:
    """Returns time as a bar that ends with the longest clip, with a notch at each call."""
    row, draw = _empty(width, _BAR_PX)
    left, span, middle = _MARGIN_PX, width - 2 * _MARGIN_PX, _BAR_PX // 2
    draw.rectangle((left, middle - 2, left + span, middle + 2), fill=_TRACK)
    draw.rectangle((left, middle - 2, left + round(span * now / total), middle + 2), fill=_DONE if _is_done(clip, now) else _MUTED)
    for call in clip.calls[: clip.num_replans(now)]:
        at = left + round(span * call.step / total)
        draw.line((at, middle - 6, at, middle + 6), fill=_INK, width=1)
    return row


def _is_done(clip: Clip, steps: int) -> bool:
    return clip.succeeded and steps >= clip.num_steps


def _fitting(draw: ImageDraw, width: int, room: float, *texts: str) -> str:
    """Returns the first of `texts` that a clip of that width has room for [px], or none of them."""
    return next((text for text in texts if draw.textlength(text, _font(width)) <= room), "")


def _fitted(picture: Image, width: int, height: int) -> Image:
    """Returns a picture at the largest whole factor that fits; one that is too large is shrunk."""
    factor = min(width // picture.width, height // picture.height)
    if factor >= 1:
        return picture.resize((picture.width * factor, picture.height * factor), pillow().Image.Resampling.NEAREST)
    share = min(width / picture.width, height / picture.height)
    return picture.resize((max(1, int(picture.width * share)), max(1, int(picture.height * share))))


def _placed(pictures: Sequence[Image], corners: Sequence[tuple[int, int]], width: int, height: int) -> Image:
    page, _ = _empty(width, height)
    for picture, corner in zip(pictures, corners):
        page.paste(picture, corner)
    return page


def _empty(width: int, height: int) -> tuple[Image, ImageDraw]:
    page = pillow().Image.new("RGB", (width, height), _PAPER)
    return page, pillow().ImageDraw.Draw(page)


def _image_of(pixels: NDArray[np.uint8]) -> Image:
    image: Image = pillow().Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    return image


@functools.cache
def _font(width: int) -> Any:
    """Returns the font for a clip of that width."""
    return pillow().ImageFont.load_default(size=max(10, width // 18))
