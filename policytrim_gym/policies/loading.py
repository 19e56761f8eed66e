"""Turns a URI into a policy."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from policytrim_gym.errors import CorruptCheckpoint, MissingExtra, UnknownPolicy
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.spec import PolicySpec

_LOADERS = {
    "policytrim_state": ("policytrim_gym.policies.state_checkpoint", "load_state_policy", "train"),
    "policytrim_tiny_vla": ("policytrim_gym.policies.tiny_vla.checkpoint", "load_tiny_vla", "vla"),
    "pi0": ("policytrim_gym.policies.pi0_checkpoint", "load_pi0", "vla"),
}
"""For each `model_type` of a config.json the module and function that load the folder, and the extra that they need."""


def load_policy(uri: str, model: PolicySpec | None = None, inference_timeout_s: float | None = None) -> ChunkPolicy:
    """Loads a policy from a checkpoint folder, from a policy server, or from a function of the user's own.

    Args:
        uri: a folder with config.json and model.safetensors; `ws://host:port` or `wss://host:port`, an openpi server; or
            `python:module:factory`, where `factory()` returns a ChunkPolicy.
        model: what an observation map says of the model, for a server that does not say its own sizes.
        inference_timeout_s: how long one answer of a server may take [s]; None: what `OpenpiPolicy` allows.

    Raises:
        UnknownPolicy: the URI names nothing that can be loaded; the message says what was tried.
        ServerUnreachable, ServerFailed, ProtocolError: no openpi server answers there.
        CorruptCheckpoint: a folder that is incomplete, truncated or of another architecture.
        MissingExtra: the checkpoint needs a package that is not installed.
    """
    if uri.startswith("python:"):
        return _from_factory(uri)
    if "://" in uri:
        return _from_server(uri, model, inference_timeout_s)
    folder = Path(uri)
    if not folder.is_dir():
        raise UnknownPolicy(f"{uri}: no such checkpoint folder (a folder with config.json and model.safetensors, or python:module:factory)")
    return _from_folder(folder)


def _from_server(uri: str, model: PolicySpec | None, inference_timeout_s: float | None) -> ChunkPolicy:
    try:
        from policytrim_gym.policies.openpi import OpenpiPolicy

        known: dict[str, Any] = {} if inference_timeout_s is None else {"inference_timeout_s": inference_timeout_s}
        if model is None:
            return OpenpiPolicy(uri, **known)
        # Without the horizon: a spec always has one, and the server's would never be heard.
        return OpenpiPolicy(uri, chunk_size=model.chunk_size, action_dim=model.action_dim, control_dt_s=model.control_dt_s, **known)
    except ModuleNotFoundError as error:
        raise MissingExtra(f'{uri} needs {error.name}: pip install "policytrim[openpi]"') from error


def _from_folder(folder: Path) -> ChunkPolicy:
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CorruptCheckpoint(f"{folder / 'config.json'} is missing: the folder holds no checkpoint") from error
    except ValueError as error:
        raise CorruptCheckpoint(f"{folder / 'config.json'} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise CorruptCheckpoint(f"{folder / 'config.json'} must hold a JSON object, got {type(values).__name__}")
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in _LOADERS:
        known = " or ".join(map(repr, _LOADERS))
        raise CorruptCheckpoint(f"{folder / 'config.json'}: model_type must be {known}, got {model_type!r}")
    module_name, function_name, extra = _LOADERS[model_type]
    try:
        policy: ChunkPolicy = getattr(importlib.import_module(module_name), function_name)(str(folder))
    except MissingExtra:
        raise
    except ImportError as error:
        raise MissingExtra(f'loading {folder} needs {error.name}: pip install "policytrim[{extra}]"') from error
    return policy


def _from_factory(uri: str) -> ChunkPolicy:
    module_name, separator, factory_name = uri.removeprefix("python:").partition(":")
    if not separator or not module_name or not factory_name:
        raise UnknownPolicy(f"{uri}: expected python:module:factory")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script, unlike `python -m`, does not look into the folder it is called from
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
    except (ImportError, AttributeError) as error:
        raise UnknownPolicy(f"{uri}: {error}") from error
    policy = factory()
    if not isinstance(policy, ChunkPolicy):
        raise UnknownPolicy(f"{uri}: the factory must return a ChunkPolicy, got {type(policy).__name__}")
    return policy
