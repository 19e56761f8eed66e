"""What stands on the table and who looks at it, as data that every physics engine builds from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

TABLE_FRICTION = 0.4
FINGER_FRICTION = 1.2
"""Coulomb coefficients of table and fingers against any body; both engines are built so that a pair has exactly these."""

TABLE_HALF_THICKNESS = 0.02  # [m]
TABLE_COLOUR = (0.62, 0.53, 0.42)


class Pose(NamedTuple):
    """Position [m] (3,) and orientation, a unit quaternion (w, x, y, z)."""

    position: NDArray[np.float64]
    quaternion: NDArray[np.float64]

    @property
    def yaw(self) -> float:
        """Its turn about the vertical [rad]."""
        w, x, y, z = self.quaternion
        return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


@dataclass(frozen=True)
class Body:
    """Something on the table: an object that can be moved, or a marker that nothing touches.

    Args:
        name: unique in the scene.
        shape: what it looks like.
        size: box: half edges (3,); cylinder: radius and half height; sphere: radius. [m]
        colour: red, green, blue in [0, 1].
        mass: [kg]; None makes a marker.

    >>> Body("cube", "box", (0.02, 0.02, 0.02), (0.85, 0.15, 0.12), mass=0.1).is_marker
    False
    """

    name: str
    shape: Literal["box", "cylinder", "sphere"]
    size: tuple[float, ...]
    colour: tuple[float, float, float]
    mass: float | None = None

    @property
    def is_marker(self) -> bool:
        """Whether nothing touches it."""
        return self.mass is None


@dataclass(frozen=True)
class Camera:
    """A camera, either beside the table or on a link of the arm.

    Args:
        name: images are `image_<name>`.
        field_of_view: vertical [degrees].
        position, target: where it stands and what it looks at [m]; None for a camera on the arm, which looks along its link's z axis
            with the link's x axis up in the picture.
    """

    name: str
    field_of_view: float
    position: tuple[float, float, float] | None = None
    target: tuple[float, float, float] | None = None

    def moved(self, x: float, y: float) -> Camera:
        """Returns the camera shifted along the table [m]; one on the arm stays where it is."""
        if self.position is None or self.target is None:
            return self
        position, target = self.position, self.target
        return replace(self, position=(position[0] + x, position[1] + y, position[2]), target=(target[0] + x, target[1] + y, target[2]))


@dataclass(frozen=True)
class Scene:
    """A table with bodies, seen by cameras.

    Args:
        bodies: objects and markers.
        cameras: fixed ones and those on the arm.
        table_centre: of the table top, whose surface is z = 0 [m].
        table_half_size: [m].

    >>> Scene(bodies=(), cameras=()).moved(0.1, 0.0).table_centre
    (0.4, 0.0)
    """

    bodies: tuple[Body, ...]
    cameras: tuple[Camera, ...]
    table_centre: tuple[float, float] = (0.3, 0.0)
    table_half_size: tuple[float, float] = (0.5, 0.5)

    def moved(self, x: float, y: float) -> Scene:
        """Returns the scene with table and cameras shifted [m]; bodies have no place in it, but in an episode's layout."""
        cameras = tuple(camera.moved(x, y) for camera in self.cameras)
        return replace(self, cameras=cameras, table_centre=(self.table_centre[0] + x, self.table_centre[1] + y))


class Physics(NamedTuple):
    """Properties of the world that an episode may vary; 1 is the nominal world."""

    friction: float = 1.0
    mass: float = 1.0
    light: float = 1.0
