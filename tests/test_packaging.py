"""Laws of the distribution: one version everywhere, every dependency pinned, and a wheel that holds what the code reads."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from policytrim_gym.cli.main import EXTRA_OF_MODULE
from policytrim_gym.version import __version__

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTION_OF_MODULE = {"PIL": "pillow", "yaml": "pyyaml", "pinocchio": "pin", "pink": "pin-pink"}


def read_setup_arguments(monkeypatch):
    """Returns what setup.py passes to `setup`, without building anything."""
    arguments = {}
    monkeypatch.setattr("setuptools.setup", lambda **given: arguments.update(given))
    monkeypatch.chdir(ROOT)
    exec(compile((ROOT / "setup.py").read_text(), str(ROOT / "setup.py"), "exec"), {"__file__": str(ROOT / "setup.py")})
    return arguments


def read_constraints():
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def test_one_version_everywhere(monkeypatch):
    import policytrim_gym
    import policytrim_ros

    package_xml = ElementTree.parse(ROOT / "package.xml").getroot()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    versions = {
        "setup.py": read_setup_arguments(monkeypatch)["version"],
        "package.xml": package_xml.findtext("version"),
        "CITATION.cff": str(citation["version"]),
        "policytrim_gym": policytrim_gym.__version__,
        "policytrim_ros": policytrim_ros.__version__,
    }
    assert set(versions.values()) == {__version__}, versions


def test_every_dependency_is_constrained_and_every_constraint_fits(monkeypatch):
    arguments = read_setup_arguments(monkeypatch)
    pins = {}
    for pin in read_constraints():
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    for line in [*arguments["install_requires"], *(line for extra in arguments["extras_require"].values() for line in extra)]:
        requirement = Requirement(line)
        found = pins.get(canonicalize_name(requirement.name))
        assert found, f"constraints.txt must pin {requirement.name}"
        for pin in found:
            exact = [specifier.version for specifier in pin.specifier if specifier.operator == "=="]
            assert all(requirement.specifier.contains(version) for version in exact), f"{pin} does not fit {requirement}"


def test_constraints_pin_exactly_what_a_robot_does_not_bring():
    loose = [str(pin) for pin in read_constraints() if not str(pin.specifier).startswith("==") and not pin.name.startswith("ros-")]
    assert loose == []


def test_the_hint_for_a_missing_module_names_an_extra_that_brings_it(monkeypatch):
    extras = read_setup_arguments(monkeypatch)["extras_require"]
    for module, extra in EXTRA_OF_MODULE.items():
        distribution = canonicalize_name(DISTRIBUTION_OF_MODULE.get(module, module))
        assert distribution in {canonicalize_name(Requirement(line).name) for line in extras[extra]}, (module, extra)


def test_every_message_that_says_what_to_install_is_right(monkeypatch):
    arguments = read_setup_arguments(monkeypatch)
    hint = re.compile(r"pip install ['\"]?([\w-]+)\[(\w+)\]")
    for path in [*(ROOT / "policytrim_gym").rglob("*.py"), *(ROOT / "policytrim_ros").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]:
        for distribution, extra in hint.findall(path.read_text()):
            assert distribution == arguments["name"] and extra in arguments["extras_require"], f"{path.name}: {distribution}[{extra}]"


def test_package_xml_is_what_colcon_takes_for_a_ros_package():
    package_xml = ElementTree.parse(ROOT / "package.xml").getroot()
    name = package_xml.findtext("name")
    assert (package_xml.get("format"), name) == ("3", "policytrim_ros")
    assert package_xml.findtext("export/build_type") == "ament_python"
    assert (ROOT / "resource" / name).is_file()
    email = package_xml.find("maintainer").get("email")
    # An invalid address silently makes colcon treat the root as plain Python.
    assert re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", email)


def test_package_xml_asks_for_each_message_package_and_for_what_shows_the_arm():
    depends = {element.text for element in ElementTree.parse(ROOT / "package.xml").getroot().iter("exec_depend")}
    trees = [ast.parse(path.read_text()) for folder in ("policytrim_ros", "launch") for path in (ROOT / folder).rglob("*.py")]
    imported = {node.module.split(".")[0] for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    messages = {name for name in imported if name.endswith(("_msgs", "_srvs"))}
    assert messages <= depends
    assert {"python3-yaml", "robot_state_publisher", "xacro"} <= depends


def test_each_node_is_an_executable_where_ros2_run_looks(monkeypatch):
    """What colcon does: it installs the scripts of setup.py where setup.cfg says; pip would put them into bin."""
    scripts = dict(line.split(" = ") for line in read_setup_arguments(monkeypatch)["entry_points"]["console_scripts"])
    nodes = {path.stem for path in (ROOT / "policytrim_ros" / "nodes").glob("*_node.py")}
    assert nodes and {name: scripts.get(name) for name in nodes} == {name: f"policytrim_ros.nodes.{name}:main" for name in nodes}
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["install"]["install_scripts"] == config["develop"]["script_dir"] == "$base/lib/policytrim_ros"


def test_the_license_is_the_whole_apache_license():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability" in text and "END OF TERMS AND CONDITIONS" in text


@pytest.mark.slow
def test_a_wheel_holds_every_module_template_and_marker(tmp_path):
    build = "from setuptools.build_meta import build_wheel; import sys; build_wheel(sys.argv[1])"
    source = tmp_path / "source"
    tracked_folders = ("policytrim_gym", "policytrim_ros", "launch", "config", "urdf", "resource")
    for path in [*ROOT.glob("*.*"), *(path for folder in tracked_folders for path in (ROOT / folder).rglob("*"))]:
        if path.is_file() and "__pycache__" not in path.parts:
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (source / "LICENSE").write_bytes((ROOT / "LICENSE").read_bytes())
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True, timeout=120)

    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = [path for folder in ("policytrim_gym", "policytrim_ros") for path in (ROOT / folder).rglob("*")]
    expected = {str(path.relative_to(ROOT)) for path in packages if path.suffix in {".py", ".j2", ".typed", ".yml"}}
    assert expected <= names, sorted(expected - names)
    shared = {name.partition(".data/data/share/")[2] for name in names} - {""}
    assert {"ament_index/resource_index/packages/policytrim_ros", "policytrim_ros/package.xml"} <= shared
    robot_files = [path for folder in ("urdf", "config") for path in (ROOT / folder).rglob("*.*")]
    assert {f"policytrim_ros/{path.relative_to(ROOT)}" for path in robot_files if path.is_file()} <= shared
    assert not [name for name in names if name.startswith(("tests/", "runs/", "benchmarks/"))]


@pytest.mark.parametrize("package", ["policytrim_ros", "policytrim_ros.control"])
def test_the_ros_package_imports_without_ros(package):
    script = f"import sys; sys.modules['rclpy'] = None; import {package}"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60, cwd=ROOT)
