"""Files that are either whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from policytrim_gym.errors import CannotWrite


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes a file so that a reader, a crash or a full disk only ever meets the old file or the whole new one.

    The bytes go to a temporary file in the same folder, are flushed to the disk, then renamed over `path`.

    Raises:
        CannotWrite: the file could not be written; what stood at `path` is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    write_atomic_with(path, lambda temporary: Path(temporary).write_bytes(data))


def write_atomic_with(path: str | os.PathLike[str], write: Callable[[str], Any]) -> None:
    """As `write_atomic`, for libraries that write the file themselves: `write` gets the temporary path."""
    target = Path(path)
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
        os.close(handle)
        write(temporary)
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        raise CannotWrite(f"could not write {target}: {error.strerror or error}; what was there before is untouched") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def write_json_atomic(path: str | os.PathLike[str], value: Any) -> None:
    """Writes JSON atomically; NaN becomes an error here and not in the reader."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def replace_folder_files(source: str | os.PathLike[str], target: str | os.PathLike[str], last: str | None = None) -> None:
    """Copies each file of `source` into `target`, each one atomically; `last` names the one that says that all are there."""
    for file in sorted(Path(source).iterdir(), key=lambda file: (file.name == last, file.name)):
        if file.is_file():
            write_atomic_with(Path(target) / file.name, partial(shutil.copyfile, file))
