"""Where the shared files are found: a checkout, an installed wheel, a colcon workspace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from policytrim_gym import share
from policytrim_gym.errors import MissingFile, PolicyTrimError
from policytrim_gym.share import share_file

NAME = "urdf/arm.urdf"


def place(folder: Path) -> Path:
    path = folder / NAME
    path.parent.mkdir(parents=True)
    path.write_text("<robot/>")
    return path


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes the module believe that it lies in the site-packages of a prefix, as a wheel puts it."""
    module = tmp_path / "prefix/lib/python3/site-packages/policytrim_gym/share.py"
    monkeypatch.setattr(share, "__file__", str(module))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    return tmp_path / "prefix"


def test_a_checkout_gives_its_own_file(monkeypatch):
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    assert share_file("package.xml") == Path(__file__).parents[1] / "package.xml"


def test_a_wheel_keeps_them_in_the_prefix(installed):
    path = place(installed / "share/policytrim_ros")
    assert share_file(NAME) == path


def test_a_workspace_is_searched_in_the_order_of_its_prefixes(installed, tmp_path, monkeypatch):
    overlay, underlay = tmp_path / "overlay", tmp_path / "underlay"
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(["", str(overlay), str(underlay)]))
    below = place(underlay / "share/policytrim_ros")
    assert share_file(NAME) == below
    above = place(overlay / "share/policytrim_ros")
    assert share_file(NAME) == above


def test_a_missing_file_names_every_place(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "overlay"))
    with pytest.raises(MissingFile) as raised:
        share_file(NAME)
    assert isinstance(raised.value, PolicyTrimError) and isinstance(raised.value, FileNotFoundError)
    for place_searched in ("site-packages/urdf", "prefix/share/policytrim_ros/urdf", "overlay/share/policytrim_ros/urdf"):
        assert f"{place_searched}/arm.urdf" in str(raised.value)


def test_a_folder_is_no_file(installed):
    (installed / "share/policytrim_ros" / NAME).mkdir(parents=True)
    with pytest.raises(MissingFile, match=r"urdf/arm\.urdf"):
        share_file(NAME)


def test_it_is_found_from_any_working_directory(tmp_path):
    script = "from policytrim_gym.share import share_file; print(share_file('package.xml').is_file())"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
