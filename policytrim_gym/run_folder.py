"""What is asked of an output folder before work is spent on it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from policytrim_gym.config import load_yaml
from policytrim_gym.errors import CannotWrite, InvalidConfig

WEIGHTS_FILE = "model.safetensors"
CHECKPOINT_FILES = (WEIGHTS_FILE, "policytrim.json")


def holds_checkpoint(folder: str | os.PathLike[str]) -> bool:
    """Returns whether the folder is a policy's checkpoint, which nothing may be written into by mistake."""
    return any((Path(folder) / name).exists() for name in CHECKPOINT_FILES)


def check_run_folder(folder: Path, policy_uri: str, work: str, state_file: str, config_type: type[Any]) -> None:
    """Returns when a training may write into the folder: it is new, or holds such a training already.

    Args:
        folder: of the run.
        policy_uri: of the policy that enters.
        work: what the training is called.
        state_file: path in the folder; a run has it before it has a checkpoint.
        config_type: of the run's config.yaml.

    Raises:
        InvalidConfig: the folder is the policy's own, or holds something else that would be overwritten.
    """
    if Path(policy_uri).is_dir() and Path(policy_uri).resolve() == folder.resolve():
        raise InvalidConfig(f"the run folder must not be the folder of the policy, got {folder} for both")
    if (folder / state_file).exists():
        return
    if holds_checkpoint(folder):
        raise InvalidConfig(f"{folder} holds a checkpoint and no {work} to go on with ({state_file}); use another folder")
    if (folder / "config.yaml").exists():
        try:
            load_yaml(config_type, folder / "config.yaml")
        except InvalidConfig as error:
            raise InvalidConfig(f"{folder} holds something else than a {work} ({error}); use another folder") from error


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
