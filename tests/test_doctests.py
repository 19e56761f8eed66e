"""Every public class of the core, the wrappers and the robot shows how it is used; pytest runs the examples (`--doctest-modules`)."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
from importlib import import_module

import pytest

import policytrim_gym
import policytrim_gym.robot
import policytrim_gym.wrappers

MODULES = [f"policytrim_gym.{info.name}" for info in pkgutil.iter_modules(policytrim_gym.__path__) if not info.ispkg]
for room in (policytrim_gym.wrappers, policytrim_gym.robot):
    MODULES += [f"{room.__name__}.{info.name}" for info in pkgutil.iter_modules(room.__path__)]
MODULES.remove("policytrim_gym.__main__")

# Interfaces and records whose use is shown by those that implement or make them.
WITHOUT_EXAMPLE = {"ChunkPolicy", "TrainableChunkPolicy", "ChunkSample", "ChunkRunner", "TrimRewardMeter", "MotionLimits", "Reference"}


@pytest.mark.parametrize("name", MODULES)
def test_public_classes_have_an_example(name: str) -> None:
    module = import_module(name)
    for value in vars(module).values():
        if not inspect.isclass(value) or value.__module__ != name or value.__name__.startswith("_") or issubclass(value, Exception):
            continue
        if value.__name__ not in WITHOUT_EXAMPLE:
            assert doctest.DocTestParser().get_examples(value.__doc__ or ""), f"{value.__name__} has no >>> example"
