"""Meshes of other arms in MuJoCo: where they are found, that all of each is drawn, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from policytrim_gym.errors import InvalidSpec, MissingFile

read_urdf = pytest.importorskip("policytrim_gym.envs.arm.mujoco_urdf").read_urdf

CORNERS = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], dtype=float)
SIDES = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))


def tetrahedra(*corners: tuple[float, float, float], size: float = 0.1) -> str:
    """Returns an OBJ file with one object at each corner."""
    lines = []
    for number, corner in enumerate(corners):
        lines += [f"o part{number}", *("v " + " ".join(map(str, point)) for point in size * CORNERS + corner)]
        lines += ["f " + " ".join(str(4 * number + index + 1) for index in side) for side in SIDES]
    return "\n".join(lines)


def urdf_in(folder: Path, visual: str, collision: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shapes = "".join(
        f'<{kind}><geometry><mesh filename="{file}"/></geometry></{kind}>' for kind, file in (("visual", visual), ("collision", collision))
    )
    (folder / "arm.urdf").write_text(f'<robot name="arm"><link name="base">{shapes}</link></robot>')
    return folder / "arm.urdf"


def meshes_in(folder: Path) -> None:
    for kind, corners in (("visual", [(0, 0, 0), (1, 0, 0)]), ("collision", [(0, 0, 0)])):
        (folder / "meshes" / kind).mkdir(parents=True)
        (folder / "meshes" / kind / "link.obj").write_text(tetrahedra(*corners))


@pytest.mark.parametrize("place", ["meshes", "package://meshes", "package://my_arm/meshes", "../meshes", "../../my_arm/meshes"])
def test_meshes_of_one_name_are_two_and_each_has_all_its_objects(tmp_path: Path, place: str) -> None:
    inside = tmp_path / "my_arm" / "urdf"
    meshes_in(inside if place in ("meshes", "package://meshes") else tmp_path / "my_arm")
    model = read_urdf(urdf_in(inside, f"{place}/visual/link.obj", f"{place}/collision/link.obj")).compile()
    assert model.nmesh == 2
    assert sorted(model.mesh_facenum.tolist()) == [4, 8]


def test_a_mesh_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="'package://meshes/none.obj' of .*arm.urdf"):
        read_urdf(urdf_in(tmp_path, "package://meshes/none.obj", "package://meshes/none.obj"))


def test_a_format_that_mujoco_does_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "link.dae").write_text("<COLLADA/>")
    with pytest.raises(InvalidSpec, match="'.obj', '.stl'.*link.dae"):
        read_urdf(urdf_in(tmp_path, "link.dae", "link.dae"))
