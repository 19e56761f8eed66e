"""What a process that was killed leaves in the shared memory of Fast DDS, where it stops others."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
MAKING_S = 60.0
"""Making a port's file takes microseconds [s]."""


def clear_unfinished_ports(folder: Path = SHARED_MEMORY) -> None:
    """Removes the files of ports whose maker was killed before it gave them a size.

    A participant that takes such a port waits for that size forever, silently, where its node is made. `fastdds shm clean` leaves these
    files, since they have no lock file yet. One that is being made is younger, and all others have a size.

    Args:
        folder: the shared memory; nothing happens where there is none.

    Warns:
        UserWarning: one belongs to somebody else; it is named.
    """
    now_s = time.time()
    for path in sorted([*folder.glob("fastrtps_port*"), *folder.glob("fastdds_port*")]):  # Fast DDS 2 and 3
        if path.name.endswith(("_el", "_sl")):  # the locks, which are empty
            continue
        try:
            state = path.stat()
            if not state.st_size and now_s - state.st_mtime > MAKING_S:
                path.unlink()
        except FileNotFoundError:
            pass  # its owner, or another node that starts, was faster
        except PermissionError:
            words = f"{path} is of a process that was killed while making it: its owner must remove it, or nodes may wait for it forever"
            warnings.warn(words, stacklevel=2)
