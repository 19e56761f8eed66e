"""What is asked of an output folder before work is spent on it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from policytrim_gym.errors import CannotWrite

CHECKPOINT_FILES = ("model.safetensors", "policytrim.json")


def holds_checkpoint(folder: str | os.PathLike[str]) -> bool:
    """Returns whether the folder is a policy's checkpoint, which nothing may be written into by mistake."""
    return any((Path(folder) / name).exists() for name in CHECKPOINT_FILES)


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Returns when files can be written into the folder, which need not exist yet and is not left behind.

    Raises:
        CannotWrite: it is a file, or cannot be made or written into.
    """
    path = Path(folder)
    missing = [part for part in (path, *path.parents) if not part.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise CannotWrite(f"cannot write into {path}: {error.strerror or error}; expected a folder, or a place for a new one") from error
    finally:
        for part in missing:
            with suppress(OSError):
                part.rmdir()
