"""Fast software rendering of a MuJoCo scene."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import MissingExtra

MARKER_EMISSION = 0.6
"""Light that a marker gives off, so that its colour is the same from all sides."""

_CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))


class Marker(NamedTuple):
    """An upright shape that is drawn and that the physics knows nothing of."""

    shape: Any  # mujoco.mjtGeom
    size: ArrayLike  # (3,), as MuJoCo has it for the shape [m]
    position: ArrayLike  # (3,) of its centre [m]
    colour: ArrayLike  # red, green, blue and alpha, (4,) in [0, 1]


def cannot_render(error: Exception) -> MissingExtra:
    """Returns the error that says what MUJOCO_GL asks for and which packages there are to install."""
    asked = f"with MUJOCO_GL={os.environ['MUJOCO_GL']}" if os.environ.get("MUJOCO_GL") else "without a display"
    return MissingExtra(
        f"MuJoCo cannot render {asked} ({error}): MUJOCO_GL=egl needs the packages libegl1 and libgl1-mesa-dri, osmesa needs libosmesa6"
    )


@contextmanager
def rendering_explained() -> Iterator[None]:
    """Raises `cannot_render` where importing MuJoCo, which loads the library that MUJOCO_GL names, fails."""
    try:
        yield
    except ModuleNotFoundError:
        raise
    except (ImportError, RuntimeError, AttributeError) as error:
        raise cannot_render(error) from error


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
        self._renderer = _make_renderer(model, width, height)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        atexit.register(_close_if_alive, weakref.ref(self._renderer))

    def draws(self, model: Any, width: int, height: int) -> bool:
        """Returns whether this renderer was made for that model and size."""
        return self._model is model and self._size == (width, height)

    def draw(self, data: Any, camera: Any, markers: Sequence[Marker] = (), show_sites: bool = True) -> NDArray[np.uint8]:
        """Returns the image of a state, (height, width, 3) uint8.

        Args:
            data: the MuJoCo data of the state.
            camera: a camera's name in the model, or an `MjvCamera`.
            markers: what is drawn besides.
            show_sites: whether the model's own sites are drawn.
        """
        self._renderer.update_scene(data, camera, None if show_sites else _without_sites())
        _leave_out(self._renderer.scene, _unseen(self._model, data, self._renderer.scene, self._size))
        for marker in markers:
            _add_marker(self._renderer.scene, marker)
        return np.array(self._renderer.render())

    def close(self) -> None:
        """Frees the GL context; again is fine."""
        self._renderer.close()


def _unseen(model: Any, data: Any, scene: Any, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns which geoms' bounding boxes are wholly on the far side of one edge of the scene's image, (ngeom,)."""
    left, right = scene.camera  # two eyes; an image is drawn from between them
    eye, ahead, up = ((np.asarray(getattr(left, name)) + getattr(right, name)) / 2 for name in ("pos", "forward", "up"))
    boxes = model.geom_aabb.reshape(-1, 1, 6)
    corners = boxes[..., :3] + _CORNERS * boxes[..., 3:]  # of each geom, in its own axes, (ngeom, 8, 3)
    corners = data.geom_xpos[:, None] - eye + corners @ data.geom_xmat.reshape(-1, 3, 3).transpose(0, 2, 1)
    depth, slope = corners @ ahead, left.frustum_top / left.frustum_near
    unseen = np.zeros(len(corners), dtype=bool)
    for axis, tangent in ((up, slope), (np.cross(ahead, up), slope * image_size[0] / image_size[1])):
        offset = corners @ axis
        unseen |= (offset > tangent * depth).all(axis=1) | (-offset > tangent * depth).all(axis=1)
    return unseen & (model.geom_rbound > 0)  # planes have no bounds


def _leave_out(scene: Any, unseen: NDArray[np.bool_]) -> None:
    """Drops these geoms from a scene. In software, the vertices of an arm's links take most of an image's time, seen or not."""
    import mujoco

    for geom in scene.geoms[: scene.ngeom]:
        if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM and unseen[geom.objid]:
            geom.type = mujoco.mjtGeom.mjGEOM_NONE


def _without_sites() -> Any:
    import mujoco

    option = mujoco.MjvOption()
    option.sitegroup[:] = 0
    return option


def _add_marker(scene: Any, marker: Marker) -> None:
    import mujoco

    geom = scene.geoms[scene.ngeom]
    size, position, colour = (np.asarray(value, dtype=np.float64) for value in (marker.size, marker.position, marker.colour))
    mujoco.mjv_initGeom(geom, marker.shape, size, position, np.eye(3).flatten(), colour.astype(np.float32))
    geom.emission = MARKER_EMISSION
    scene.ngeom += 1


def _close_if_alive(reference: weakref.ref[Any]) -> None:
    """Frees a renderer that nobody closed; later, when EGL is already down, MuJoCo's own clean-up would print errors."""
    renderer = reference()
    if renderer is not None:
        renderer.close()


def _make_renderer(model: Any, width: int, height: int) -> Any:
    """Returns MuJoCo's own renderer.

    Where none can be made, what was half made fails again when it is collected, and Python would print that. So it is collected here,
    with the exception that holds it, while nothing is printed.
    """
    import mujoco

    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        return mujoco.Renderer(model, height=height, width=width)
    except Exception as error:  # the GL back ends raise many types
        reason = cannot_render(error)
    finally:
        sys.unraisablehook = hook
    raise reason


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
