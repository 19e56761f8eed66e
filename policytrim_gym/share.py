"""The files that come with the distribution and are no Python modules: robot descriptions and configurations."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from policytrim_gym.errors import MissingFile

SHARE = Path("share", "policytrim_ros")


def share_file(name: str) -> Path:
    """Returns where a shared file lies on this machine, be the package a checkout, an installed wheel or a colcon workspace.

    A checkout comes first, so that an edited robot is the one that is loaded, then the running interpreter's prefix, then the
    prefixes of `AMENT_PREFIX_PATH` in their order.

    >>> share_file("urdf/policytrim_arm.urdf.xacro").name
    'policytrim_arm.urdf.xacro'

    Args:
        name: Path inside the share folder, with forward slashes.

    Raises:
        MissingFile: No place has it; the message names all of them.
    """
    candidates = [folder / name for folder in _share_folders()]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise MissingFile(f"no file {name!r} comes with this installation: looked for {', '.join(map(str, candidates))}")
    return found


def _share_folders() -> Iterator[Path]:
    yield Path(__file__).resolve().parents[1]
    yield Path(sys.prefix) / SHARE
    yield from (Path(prefix) / SHARE for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix)
