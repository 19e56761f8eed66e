"""Reads a URDF into a MuJoCo specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mujoco

from policytrim_gym.errors import InvalidSpec, MissingFile

_COMPILER = {"fusestatic": "false", "discardvisual": "false", "strippath": "false"}
"""Keeps links without mass as frames, visual shapes, and the names that meshes are given here."""
_MESH_FORMATS = (".obj", ".stl")
_FOLDERS_ABOVE = 4


def read_urdf(file: Path) -> Any:
    """Returns a URDF as a MuJoCo specification with all its meshes.

    MuJoCo takes two meshes of one base name (visual/link1.obj, collision/link1.obj) for one, and reads the first object of a file only;
    so each mesh gets a name of its own and its objects are joined.

    Raises:
        MissingFile: a mesh that is not there.
        InvalidSpec: a mesh in a format that MuJoCo does not read.
    """
    root = ElementTree.parse(file).getroot()
    root.insert(0, ElementTree.Element("mujoco"))
    ElementTree.SubElement(root[0], "compiler", _COMPILER)
    for link in root.findall("link"):
        for kind in ("visual", "collision"):
            for index, shape in enumerate(link.findall(kind)):
                # Shapes without a name count as one name given twice.
                shape.set("name", f"{link.get('name')}_{kind}_{index}")
    meshes: dict[str, bytes] = {}
    for number, mesh in enumerate(root.iter("mesh")):
        found = _mesh_file(file, mesh.get("filename", ""))
        name = f"{number}_{found.name}"
        mesh.set("filename", name)
        meshes[name] = _joined(found)
    return mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"), assets=meshes)


def _mesh_file(urdf: Path, filename: str) -> Path:
    """Returns where a mesh lies: beside the URDF or in a folder above, with or without the name of its ROS package."""
    inside = Path(filename.removeprefix("file://").removeprefix("package://"))
    folders = [urdf.parent, *urdf.parent.parents[:_FOLDERS_ABOVE]]
    paths = (inside, Path(*inside.parts[1:]))
    found = next((folder / path for path in paths for folder in folders if (folder / path).is_file()), None)
    if found is None:
        raise MissingFile(f"the mesh {filename!r} of {urdf} is neither beside it nor in one of the {_FOLDERS_ABOVE} folders above")
    if found.suffix.lower() not in _MESH_FORMATS:
        raise InvalidSpec(f"MuJoCo reads meshes of the formats {_MESH_FORMATS}, got {found}; convert it")
    return found


def _joined(mesh: Path) -> bytes:
    """Returns the content of a mesh file as one object; its materials are left to the URDF."""
    content = mesh.read_bytes()
    if mesh.suffix.lower() != ".obj":
        return content
    parting = (b"o ", b"g ", b"usemtl", b"mtllib")
    return b"\n".join(line for line in content.splitlines() if not line.startswith(parting))
