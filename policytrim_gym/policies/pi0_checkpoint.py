"""Reads and writes the checkpoint folder of a `Pi0Policy`: what transformers writes, and `interface.json` beside it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from policytrim_gym.config import from_mapping, to_mapping
from policytrim_gym.errors import CannotWrite, CorruptCheckpoint, InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.files import write_atomic_with, write_json_atomic
from policytrim_gym.policies.action_steps import ACTION_STEPS, check_action_steps, with_action_steps
from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.pi0 import Pi0Policy
from policytrim_gym.policies.pi0_interface import Pi0Interface

CONFIG, WEIGHTS, INTERFACE, STATISTICS = "config.json", "model.safetensors", "interface.json", "processor_config.json"
STATISTIC_KEYS = ("state_mean", "state_std", "actions_mean", "actions_std")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")


def save_pi0(policy: Pi0Policy, folder: str) -> None:
    """Writes the checkpoint, each file whole or not at all, the weights last and in one file; adapters are merged into them.

    Raises:
        CannotWrite: the disk is full or not writable; what stood there is untouched.
    """
    from safetensors import SafetensorError

    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".pi0.") as staging:
            with _quiet():
                policy.model.save_pretrained(staging, state_dict=policy.merged_state(), max_shard_size="1TB")
            policy.tokenizer.save_pretrained(staging)
            config = json.loads((Path(staging) / CONFIG).read_text(encoding="utf-8"))
            write_json_atomic(Path(staging) / CONFIG, with_action_steps(config, policy.spec.horizon))
            files = sorted(Path(staging).iterdir(), key=lambda file: (file.name == WEIGHTS, file.name))
            write_json_atomic(target / INTERFACE, to_mapping(policy.interface))
            write_json_atomic(target / STATISTICS, _processor_config(policy))
            for file in files:
                write_atomic_with(target / file.name, partial(shutil.copyfile, file))
    except CannotWrite:
        raise
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CannotWrite(f"could not write {target}: {reason}; what was there before is untouched") from error


def load_pi0(folder: str, device: str | None = None) -> Pi0Policy:
    """Reads a checkpoint of `PI0ForConditionalGeneration` with tokenizer, statistics and `interface.json`.

    Weights become float32: the log-probs of one gradient step differ by less than bfloat16 can hold.

    Args:
        folder: of the checkpoint.
        device: where the model runs; None takes a GPU where there is one.

    Raises:
        CorruptCheckpoint: a file is missing, truncated or of another architecture; the message names it.
        MissingExtra: adapters without peft.
    """
    path = Path(folder)
    interface = _read_interface(path / INTERFACE)
    state_statistics, action_statistics = _read_statistics(path / STATISTICS)
    config = _read_config(path)
    tokenizer = _read_tokenizer(path)
    model = _read_model(path, config)
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        policy = Pi0Policy(model, tokenizer, state_statistics, action_statistics, interface, chosen)
        action_steps = getattr(config, ACTION_STEPS, None)
        if interface.execute_horizon is not None:
            check_action_steps(action_steps, policy.spec.horizon)
        elif action_steps is not None:  # as LeRobot's users leave it
            policy.set_execute_horizon(action_steps)
    except (InvalidSpec, InvalidConfig, InvalidHorizon) as error:
        raise CorruptCheckpoint(f"{path}: its files do not fit together: {error}") from error
    return policy


def _processor_config(policy: Pi0Policy) -> dict[str, Any]:
    """Returns the statistics under the keys of transformers' PI0Processor."""
    both = {"state": policy.state_statistics, "actions": policy.action_statistics}
    statistics = {f"{name}_{what}": list(getattr(of, what)) for name, of in both.items() for what in ("mean", "std")}
    config = policy.model.config
    return {"processor_class": "PI0Processor", "max_state_dim": config.max_state_dim, "chunk_size": config.chunk_size, **statistics}


def _read_interface(path: Path) -> Pi0Interface:
    hint = 'it names the cameras in the order of the training, such as {"cameras": ["front", "wrist"]}'
    try:
        return from_mapping(Pi0Interface, _read_json(path, hint))
    except InvalidConfig as error:
        raise CorruptCheckpoint(f"{path}: {error}") from error


def _read_statistics(path: Path) -> tuple[NormStatistics, NormStatistics]:
    hint = f"it holds the statistics that the model was trained with: {', '.join(STATISTIC_KEYS)}"
    values = _read_json(path, hint)
    missing = [key for key in STATISTIC_KEYS if values.get(key) is None]
    if missing:
        raise CorruptCheckpoint(f"{path} lacks {', '.join(missing)}: {hint}")
    try:
        state, actions = (NormStatistics(values[f"{name}_mean"], values[f"{name}_std"]) for name in ("state", "actions"))
    except InvalidConfig as error:
        raise CorruptCheckpoint(f"{path}: {error}") from error
    return state, actions


def _read_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        raise CorruptCheckpoint(f"{path / TOKENIZER_FILES[0]} is missing: pi0 needs the tokenizer that it was trained with")
    try:
        with _quiet():
            return AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise CorruptCheckpoint(f"{path}: the tokenizer is not readable: {_one_line(error)}") from error


def _read_config(path: Path) -> Any:
    from transformers import PI0Config

    values = _read_json(path / CONFIG, "the folder holds no checkpoint")
    if values.get("model_type") != Pi0Policy.model_type:
        raise CorruptCheckpoint(f"{path / CONFIG}: model_type must be 'pi0', got {values.get('model_type')!r}")
    try:
        with _quiet():
            return PI0Config.from_pretrained(path, local_files_only=True)
    except Exception as error:  # its validation raises errors of its own kinds
        raise CorruptCheckpoint(f"{path / CONFIG} does not describe a pi0: {_one_line(error)}") from error


def _read_model(path: Path, config: Any) -> Any:
    from safetensors import SafetensorError
    from transformers import PI0ForConditionalGeneration

    if not any(path.glob("model*.safetensors")):
        raise CorruptCheckpoint(f"{path / WEIGHTS} is missing")
    try:
        with _quiet():
            # What does not match is reported by name; left to raise, it would be a table in the log.
            loaded: Any = PI0ForConditionalGeneration.from_pretrained(
                path, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
            )
    except (SafetensorError, RuntimeError, ValueError, OSError, TypeError) as error:
        raise CorruptCheckpoint(f"{path / WEIGHTS} is truncated or belongs to another architecture: {_one_line(error)}") from error
    model, report = loaded
    odd = [(what, name) for what in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in sorted(map(str, report[what]))]
    if odd:
        what, name = odd[0]
        raise CorruptCheckpoint(f"{path / WEIGHTS} belongs to another architecture: {what.replace('_', ' ')} {name}, {len(odd)} in all")
    return model


def _read_json(path: Path, hint: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CorruptCheckpoint(f"{path} is missing: {hint}") from error
    except ValueError as error:
        raise CorruptCheckpoint(f"{path} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise CorruptCheckpoint(f"{path} must hold a JSON object, got {type(values).__name__}")
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
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
