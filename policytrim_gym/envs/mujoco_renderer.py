"""Fast software rendering of a MuJoCo scene."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MissingExtra


class MujocoRenderer:
    """A MuJoCo renderer without shadows, reflections and multisampling, some twenty times faster in software than the default.

    Args:
        model: the MuJoCo model of a simulation.
        width, height: image size [pixels].

    Raises:
        MissingExtra: no software OpenGL is installed; the message names the package.
    """

    def __init__(self, model: Any, width: int, height: int) -> None:
        import mujoco

        _choose_egl()
        self._model, self._size = model, (width, height)
        model.vis.quality.shadowsize = 0
        model.vis.quality.offsamples = 0
        model.vis.global_.offwidth, model.vis.global_.offheight = max(width, 640), max(height, 480)
        try:
            self._renderer = mujoco.Renderer(model, height=height, width=width)
        except Exception as error:  # the GL back ends raise many types
            raise MissingExtra(f"MuJoCo cannot render ({error}): install libegl1 and libgl1-mesa-dri, or set MUJOCO_GL=osmesa") from error
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        atexit.register(_close_if_alive, weakref.ref(self._renderer))

    def draws(self, model: Any, width: int, height: int) -> bool:
        """Returns whether this renderer was made for that model and size."""
        return self._model is model and self._size == (width, height)

    def draw(self, data: Any, camera: Any) -> NDArray[np.uint8]:
        """Returns the image of a state, (height, width, 3) uint8; `camera` is a camera's name in the model, or an `MjvCamera`."""
        self._renderer.update_scene(data, camera)
        return np.array(self._renderer.render())

    def close(self) -> None:
        """Frees the GL context; again is fine."""
        self._renderer.close()


def _close_if_alive(reference: weakref.ref[Any]) -> None:
    """Frees a renderer that nobody closed; later, when EGL is already down, MuJoCo's own clean-up would print errors."""
    renderer = reference()
    if renderer is not None:
        renderer.close()


def _choose_egl() -> None:
    """Makes MuJoCo render through EGL, which needs no display, unless MUJOCO_GL says otherwise.

    MuJoCo reads that variable when it is first imported, and making the simulation has done that long ago.
    """
    from mujoco import gl_context

    if sys.platform != "linux" or os.environ.get("MUJOCO_GL"):
        return
    try:
        from mujoco.egl import GLContext
    except (ImportError, AttributeError):  # without libEGL; what MuJoCo chose itself may work or say why not
        return
    gl_context.GLContext = GLContext
