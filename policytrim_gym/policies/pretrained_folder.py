"""Folders as transformers writes them: config.json, the tokenizer's files and model.safetensors."""

from __future__ import annotations

import filecmp
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from policytrim_gym.errors import CannotWrite, CorruptCheckpoint
from policytrim_gym.files import write_atomic_with, write_json_atomic
from policytrim_gym.policies.model_card import remove_facts

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")


def write_pretrained(
    target: Path,
    model: Any,
    tokenizer: Any,
    weights: Mapping[str, torch.Tensor],
    change_config: Callable[[dict[str, Any]], dict[str, Any]],
    others: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Writes a folder, each file whole or not at all, the weights last and in one file; what was said of other weights goes with them.

    Args:
        target: the folder; it is made.
        model, tokenizer: of transformers.
        weights: to write, under the library's names.
        change_config: from the values of config.json that the library would write to those that are written.
        others: further JSON files, by their names.

    Raises:
        CannotWrite: the disk is full or not writable; what stood there is untouched.
    """
    from safetensors import SafetensorError

    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".pretrained.") as staging:
            with quiet():
                model.save_pretrained(staging, state_dict=weights, max_shard_size="1TB")
            tokenizer.save_pretrained(staging)
            config = Path(staging) / CONFIG
            write_json_atomic(config, change_config(json.loads(config.read_text(encoding="utf-8"))))
            files = sorted(Path(staging).iterdir(), key=lambda file: (file.name == WEIGHTS, file.name))
            for name, values in (others or {}).items():
                write_json_atomic(target / name, dict(values))
            held = target / WEIGHTS
            if not (held.is_file() and filecmp.cmp(held, Path(staging) / WEIGHTS, shallow=False)):
                remove_facts(target)
            for file in files:
                write_atomic_with(target / file.name, partial(shutil.copyfile, file))
    except CannotWrite:
        raise
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CannotWrite(f"could not write {target}: {reason}; what was there before is untouched") from error


def read_tokenizer(path: Path, hint: str) -> Any:
    """Returns the tokenizer of a folder; raises CorruptCheckpoint, with the hint where its file is missing."""
    from transformers import AutoTokenizer

    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        raise CorruptCheckpoint(f"{path / TOKENIZER_FILES[0]} is missing: {hint}")
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise CorruptCheckpoint(f"{path}: the tokenizer is not readable: {one_line(error)}") from error


def read_model(model_class: Any, path: Path, config: Any) -> Any:
    """Returns the model of a folder in float32.

    Raises:
        CorruptCheckpoint: weights that are missing, truncated or do not fit the config; the message names the first.
    """
    from safetensors import SafetensorError

    if not any(path.glob("model*.safetensors")):
        raise CorruptCheckpoint(f"{path / WEIGHTS} is missing")
    try:
        with quiet():
            # What does not match is reported by name; left to raise, it would be a table in the log.
            model, report = model_class.from_pretrained(
                path, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
            )
    except (SafetensorError, RuntimeError, ValueError, OSError, TypeError) as error:
        raise CorruptCheckpoint(f"{path / WEIGHTS} is truncated or belongs to another architecture: {one_line(error)}") from error
    odd = [(what, name) for what in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in sorted(map(str, report[what]))]
    if odd:
        what, name = odd[0]
        raise CorruptCheckpoint(f"{path / WEIGHTS} belongs to another architecture: {what.replace('_', ' ')} {name}, {len(odd)} in all")
    check_finite(path / WEIGHTS, model.state_dict())
    return model


def check_finite(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Raises CorruptCheckpoint, naming the file and the first tensor, unless all weights are finite."""
    for name, values in weights.items():
        if values.is_floating_point() and not torch.isfinite(values).all():
            raise CorruptCheckpoint(f"{path}: weights must be finite, {name} has {values[~torch.isfinite(values)][0].item()}")


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """Returns the object of a JSON file; raises CorruptCheckpoint, with the hint where it is missing."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CorruptCheckpoint(f"{path} is missing: {hint}") from error
    except ValueError as error:
        raise CorruptCheckpoint(f"{path} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise CorruptCheckpoint(f"{path} must hold a JSON object, got {type(values).__name__}")
    return values


def one_line(error: Exception) -> str:
    """Returns an error's message on one line, its type where it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' progress bars and reports off the terminal; what matters of them becomes an error here."""
    from transformers.utils import logging

    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
