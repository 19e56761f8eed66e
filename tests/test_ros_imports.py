"""In which direction the rooms of the ROS package import, and which of them need ROS."""

from __future__ import annotations

import ast
from pathlib import Path

from test_docs import arrows_of_the_diagram
from test_imports import KNOWN, ROS, imported, layer_of

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_ROS = ("control", "sim", "recording", "arm_policy", "policy_observer", "policy_worker", "launch_plan")


def room_of(path):
    """Returns `ros_` and the folder of a module of the package; a module directly in it is a room of its own."""
    return f"ros_{path.relative_to(ROOT / 'policytrim_ros').with_suffix('').parts[0]}"


def ros_modules():
    for path in sorted((ROOT / "policytrim_ros").rglob("*.py")):
        if path != ROOT / "policytrim_ros" / "__init__.py":
            yield path, ast.parse(path.read_text())


ROOMS = {".".join(path.relative_to(ROOT).with_suffix("").parts): room_of(path) for path, _ in ros_modules()}


def test_the_diagram_has_an_arrow_for_every_import_of_the_ros_package():
    across = set()
    for path, tree in ros_modules():
        for target in imported(tree):
            sink = ROOMS.get(target) or (layer_of(target) if target in KNOWN else None)
            across.add((room_of(path), sink))
    across = {(source, sink) for source, sink in across if sink not in (None, source)}
    assert across and across <= arrows_of_the_diagram("-->"), across - arrows_of_the_diagram("-->")


def test_only_nodes_messages_and_parameters_need_ros():
    wrong = [
        f"{path.name} imports {target}"
        for path, tree in ros_modules()
        for target in imported(tree)
        if room_of(path).removeprefix("ros_") in WITHOUT_ROS and target.split(".")[0] in set(ROS) - {"policytrim_ros"}
    ]
    assert wrong == []
