"""What the tests of worker processes ask about processes."""

from __future__ import annotations

import time
from pathlib import Path


def assert_ends(pid: int, within_s: float = 10.0) -> None:
    """Waits until a process is gone, or is a zombie that nobody reaps."""
    deadline = time.monotonic() + within_s
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Returns whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
