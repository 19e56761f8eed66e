"""A file is either whole or not there, whatever goes wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from policytrim_gym.errors import CannotWrite
from policytrim_gym.files import replace_folder_files, write_atomic, write_atomic_with, write_json_atomic


def test_what_is_written_is_read_back(tmp_path) -> None:
    for content in (b"\x00\xff", "héllo"):
        write_atomic(tmp_path / "new" / "file", content)
        assert (tmp_path / "new" / "file").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == 0o644
    assert os.listdir(tmp_path / "new") == ["file"]


def test_an_error_in_the_writer_keeps_the_old_file(tmp_path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")

    def half(temporary: str) -> None:
        Path(temporary).write_text("hal")
        raise RuntimeError("out of ideas")

    with pytest.raises(RuntimeError, match="out of ideas"):
        write_atomic_with(path, half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # past the limit, write() fails with EFBIG as it would with ENOSPC
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from policytrim_gym.errors import CannotWrite
from policytrim_gym.files import write_atomic
try:
    write_atomic(sys.argv[1], b"x" * 100_000)
except CannotWrite as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_keeps_the_old_file_and_says_so(tmp_path) -> None:
    path = tmp_path / "model.bin"
    write_atomic(path, b"old")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert f"could not write {path}" in done.stderr and "untouched" in done.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.bin"]


def test_a_path_that_cannot_be_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWrite, match="could not write .*file/inside"):
        write_atomic(tmp_path / "file" / "inside", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CannotWrite):
        write_atomic(tmp_path / "folder", "x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_nan_does_not_become_json(tmp_path) -> None:
    path = tmp_path / "report.json"
    write_json_atomic(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_atomic(path, {"a": float("nan")})
    assert path.read_text() == '{\n "a": 1\n}\n'


def test_a_folders_files_replace_anothers_and_leave_the_rest(tmp_path) -> None:
    for folder, content in (("source", "new"), ("target", "old")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text(content)
    (tmp_path / "target" / "b").write_text("kept")
    replace_folder_files(tmp_path / "source", tmp_path / "target")
    assert {file.name: file.read_text() for file in (tmp_path / "target").iterdir()} == {"a": "new", "b": "kept"}


def test_the_last_file_says_that_a_folder_is_whole(tmp_path, monkeypatch) -> None:
    (tmp_path / "source").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "source" / name).write_text("x")
    order: list[str] = []
    monkeypatch.setattr("policytrim_gym.files.write_atomic_with", lambda path, write: order.append(path.name))
    replace_folder_files(tmp_path / "source", tmp_path / "target", last="b")
    assert order == ["a", "c", "b"]
