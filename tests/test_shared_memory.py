"""Shared memory of a killed process: what stops a node is removed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from policytrim_ros.demo.domains import ClaimedDomain
from policytrim_ros.shared_memory import MAKING_S, SHARED_MEMORY, clear_unfinished_ports

PARTICIPANT = "import rclpy\nrclpy.init()\nrclpy.create_node('nobody')\nprint('made')\n"


def aged(path: Path, age_s: float) -> Path:
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def make(path: Path, content: bytes = b"", age_s: float = 2 * MAKING_S) -> Path:
    path.write_bytes(content)
    return aged(path, age_s)


def test_only_a_port_that_nobody_will_finish_is_removed(tmp_path):
    unfinished = [make(tmp_path / "fastrtps_port7411"), make(tmp_path / "fastdds_port7413")]
    others = [
        make(tmp_path / "fastrtps_port7415", age_s=0.0),  # somebody is making it
        make(tmp_path / "fastrtps_port7417", b"a port"),
        make(tmp_path / "fastrtps_port7417_el"),
        make(tmp_path / "fastrtps_port7419_sl"),
        make(tmp_path / "fastrtps_0019a20a68a46290_el"),
        make(tmp_path / "sem.fastrtps_port7411_mutex"),
        make(tmp_path / "somebody's"),
    ]
    clear_unfinished_ports(tmp_path)
    assert not any(path.exists() for path in unfinished) and all(path.exists() for path in others)
    clear_unfinished_ports(tmp_path / "none")


def test_a_port_of_somebody_else_is_named(tmp_path, monkeypatch):
    port = make(tmp_path / "fastrtps_port7411")

    def refuse(self):
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.warns(UserWarning, match=f"{port} is of a process that was killed while making it: its owner must remove it"):
        clear_unfinished_ports(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="this machine has no /dev/shm")
def test_a_participant_is_made_where_another_was_killed_in_the_making():
    """As Fast DDS takes ports: participant 0 of a domain has 7400 + 250 x domain + 11 (DDSI-RTPS, 9.6.1.1)."""
    pytest.importorskip("rclpy")
    with ClaimedDomain() as domain:
        left = SHARED_MEMORY / f"fastrtps_port{7400 + 250 * domain.number + 11}"
    make(left)
    try:
        with ClaimedDomain([domain.number]) as domain:
            command = [sys.executable, "-c", PARTICIPANT]
            ended = subprocess.run(command, env=os.environ | domain.environment, capture_output=True, text=True, timeout=60)
        assert ended.stdout == "made\n"
    finally:
        left.unlink(missing_ok=True)
