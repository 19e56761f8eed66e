"""What a model calls the things that an environment shows and takes, and what has to be done to them in between."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.config import check_fields, load_yaml
from policytrim_gym.errors import InvalidChunk, InvalidConfig, MismatchedTransform, MissingFile, MissingObservation
from policytrim_gym.policies.norm_statistics import NormStatistics, load_norm_statistics
from policytrim_gym.policies.observation_transforms import Transform, TransformEntry
from policytrim_gym.policy import Observation
from policytrim_gym.share import share_file
from policytrim_gym.spec import PolicySpec

Shape = tuple[int | None, ...]
INSTRUCTION = "instruction"
IMAGE_AXES = 3
REHEARSAL_SIZE = 1024  # stands for None in a shape when a map is tried out on zeros: room for every crop


@dataclass(frozen=True)
class ModelInput:
    """Where the value of one model key comes from.

    Args:
        source: key in the environment's observation; `a.b` is also key b of the mapping a. "instruction" is the sentence.
        shape: of the source, null for any length; the instruction has none.
        concatenate: in place of a source, several inputs that are joined along the last axis, each with transforms of its own.
        transforms: applied in this order, each a name, or a name with its arguments.

    Raises:
        InvalidConfig: neither or both of source and concatenate, a shape that is missing or too much, an unknown transform or argument.

    >>> ModelInput(source="state", shape=(39,), transforms=({"take": {"count": 4}},)).sources
    (('state', (39,)),)
    """

    source: str | None = None
    shape: Shape | None = None
    concatenate: tuple[ModelInput, ...] = ()
    transforms: tuple[TransformEntry, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.source is None) != bool(self.concatenate):
            raise InvalidConfig(
                f"a model key needs either source or concatenate, got source {self.source!r} and {len(self.concatenate)} parts"
            )
        if self.is_text and (self.shape is not None or self.transforms):
            raise InvalidConfig(f"the instruction is a sentence, without shape and transforms, got {self.shape} and {self.transforms}")
        if (self.source is None or self.is_text) != (self.shape is None):
            raise InvalidConfig(
                f"source {self.source!r} needs a shape (null fits any length), and what has no source needs none, got {self.shape}"
            )
        if any(part.is_text for part in self.concatenate):
            raise InvalidConfig("concatenate joins arrays, got the instruction")
        _ = self.steps  # an unknown transform is refused here, not at the first observation

    @property
    def is_text(self) -> bool:
        """Whether this is the instruction."""
        return self.source == INSTRUCTION

    @cached_property
    def steps(self) -> tuple[Transform, ...]:
        """The transforms, with their arguments checked."""
        return tuple(Transform.of(entry) for entry in self.transforms)

    @property
    def has_known_size(self) -> bool:
        """Whether zeros can stand for the sources: images of any size can, a vector whose length is open cannot."""
        return all(len(shape) == IMAGE_AXES or None not in shape for _, shape in self.sources)

    def every_step(self) -> list[Transform]:
        """Returns the transforms of this and of its parts."""
        return [*self.steps, *(step for part in self.concatenate for step in part.every_step())]

    @property
    def sources(self) -> tuple[tuple[str, Shape], ...]:
        """Key and shape of each array of the environment that this needs."""
        if self.source is not None and self.shape is not None:
            return ((self.source, self.shape),)
        return tuple(source for part in self.concatenate for source in part.sources)


@dataclass(frozen=True)
class ObservationMap:
    """Maps an environment's observation to a model's keys, and a model's chunk to the environment's actions.

    A map is a YAML file; `load` finds those that come with the package by their name, such as "openpi_libero". It also says what a
    server does not: `model_spec` is what the model predicts, `env_spec` what the environment gets.

    Args:
        chunk_size: H, actions of one prediction of the model.
        action_dim: numbers in one action as the model returns it, before `outputs`.
        inputs: for each key of the model where its value comes from.
        outputs: transforms from the model's chunk (chunk_size, action_dim) to the environment's (chunk_size, n), in this order.
        execute_horizon: stock or proven number of actions to run before asking again; None: what the policy says.
        action_kinds: "delta" or "position" for each number of the environment's action, (n,); None when unknown.
        control_dt_s: seconds between two actions; None: what the policy says.
        nested_keys: whether a model key `a.b` is key b of a mapping a, as openpi's ALOHA policy takes images.
        statistics: norm_stats.json of the checkpoint, beside the map's file unless it is absolute, for the normalisations named here.
        env, env_kwargs: Gymnasium id and arguments of the environment that this is for; commands take them as their default.
        name: what errors call the map; the file's name by default.

    Raises:
        InvalidConfig, InvalidSpec: naming the key, the value and the expectation.

    >>> arm = ObservationMap(
    ...     chunk_size=2,
    ...     action_dim=3,
    ...     inputs={"observation/state": ModelInput(source="state", shape=(2,)), "prompt": ModelInput(source="instruction")},
    ...     outputs=({"take": {"count": 1}},),
    ... )
    >>> arm.observation({"state": [0.5, 1.0], "instruction": "push", "image_front": None})
    {'observation/state': array([0.5, 1. ], dtype=float32), 'prompt': 'push'}
    >>> arm.env_spec.action_dim
    1
    >>> arm.observation({"instruction": "push"})
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.MissingObservation: the observation map needs the key "state"; the observation has ['instruction']
    """

    chunk_size: int
    action_dim: int
    inputs: dict[str, ModelInput]
    outputs: tuple[TransformEntry, ...] = ()
    execute_horizon: int | None = None
    action_kinds: tuple[Literal["delta", "position"], ...] | None = None
    control_dt_s: float | None = None
    nested_keys: bool = False
    statistics: Path | None = None
    env: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    name: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.inputs:
            raise InvalidConfig("inputs must have at least one model key, got none")
        sources = self.sources
        unread = [key for step in self._every_step() for key in step.env_keys if key not in sources]
        if unread:
            raise InvalidConfig(f'a transform reads "{unread[0]}", which is the source of no model key; sources: {sorted(sources)}')
        _ = self.model_spec

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ObservationMap:
        """Reads a map and tries it out on zeros, so that transforms that do not fit each other are found now.

        Args:
            path: a YAML file, or the name of one that comes with the package.

        Raises:
            MissingFile: no such file; the message names the maps that come with the package.
            InvalidConfig, MismatchedTransform, InvalidSpec: naming the file, the key and what was expected.
        """
        file = _map_file(os.fspath(path))
        loaded = load_yaml(cls, file)
        statistics = None if loaded.statistics is None else file.parent / loaded.statistics
        loaded = replace(loaded, statistics=statistics, name=loaded.name or file.stem)
        _ = loaded.env_spec
        return loaded

    @cached_property
    def sources(self) -> dict[str, Shape]:
        """The shape of each array of the environment that the model needs.

        Raises:
            InvalidConfig: a source that is said to have two shapes.
        """
        shapes: dict[str, Shape] = {}
        for key, model_input in self.inputs.items():
            for source, shape in model_input.sources:
                if shapes.setdefault(source, shape) != shape:
                    raise InvalidConfig(f'{key}: the source "{source}" must have one shape, got {shapes[source]} and {shape}')
        return shapes

    @cached_property
    def model_spec(self) -> PolicySpec:
        """What the model itself predicts: what an adapter needs that cannot ask its model."""
        return PolicySpec(self.chunk_size, self.action_dim, self.execute_horizon, self.control_dt_s)

    @cached_property
    def env_spec(self) -> PolicySpec:
        """What the model behind this map predicts for the environment, and what an observation of the environment must hold.

        Sources inside a nested mapping are left out of its `observation_shapes`; they are checked all the same.
        """
        zeros = self._zeros()
        for key, model_input in self.inputs.items():
            if model_input.has_known_size:
                self._model_value(key, model_input, zeros)
        env_actions = self.actions(np.zeros((self.chunk_size, self.action_dim)), zeros)
        return PolicySpec(
            self.chunk_size,
            env_actions.shape[1],
            self.execute_horizon,
            self.control_dt_s,
            {key: shape for key, shape in self.sources.items() if "." not in key},
            self._source_spec.needs_instruction,
            self.action_kinds,
        )

    def observation(self, env_observation: Observation) -> dict[str, Any]:
        """Returns what the model is to be shown: vectors as float32, images of the type that their transforms leave.

        Raises:
            MissingObservation: a key that is missing, of another shape or not finite; the message names the key, the map and what is there.
            MismatchedTransform: values that a transform does not take, such as a colour beyond its range.
        """
        found = self._found(env_observation)
        mapped: dict[str, Any] = {}
        for key, model_input in self.inputs.items():
            _put(mapped, key.split(".") if self.nested_keys else [key], self._model_value(key, model_input, found))
        return mapped

    def actions(self, chunk: ArrayLike, env_observation: Observation) -> NDArray[np.float32]:
        """Returns the environment's actions (chunk_size, n) of a model's chunk.

        Args:
            chunk: (chunk_size, action_dim).
            env_observation: that the chunk was predicted for; only the transforms of deltas read it.

        Raises:
            InvalidChunk: a chunk of another shape.
            MissingObservation, MismatchedTransform: as `observation` does.
        """
        values = np.asarray(chunk, dtype=np.float64)
        if values.shape != (self.chunk_size, self.action_dim):
            expected = (self.chunk_size, self.action_dim)
            raise InvalidChunk(f"{self.title}: the model's chunk must have shape {expected} (chunk_size, action_dim), got {values.shape}")
        arrays = {key: self._looked_up(env_observation, key) for step in self._output_steps for key in step.env_keys}
        try:
            for step in self._output_steps:
                values = step(values, arrays, self._statistics)
        except MismatchedTransform as error:
            raise MismatchedTransform(f"{self.title}, outputs: {error}") from error
        if values.ndim != 2 or len(values) != self.chunk_size:
            raise MismatchedTransform(f"{self.title}, outputs: a chunk must stay ({self.chunk_size}, n), got {values.shape}")
        return values.astype(np.float32)

    @cached_property
    def _output_steps(self) -> tuple[Transform, ...]:
        return tuple(Transform.of(entry) for entry in self.outputs)

    @cached_property
    def _statistics(self) -> dict[str, NormStatistics]:
        return {} if self.statistics is None else load_norm_statistics(self.statistics)

    @cached_property
    def _source_spec(self) -> PolicySpec:
        """What is checked of the sources; sizes of chunks play no part."""
        return PolicySpec(1, 1, observation_shapes=self.sources, needs_instruction=any(value.is_text for value in self.inputs.values()))

    @property
    def title(self) -> str:
        """How messages call this map."""
        return "the observation map" if self.name is None else f"the observation map {self.name}"

    def _every_step(self) -> list[Transform]:
        return [*self._output_steps, *(step for value in self.inputs.values() for step in value.every_step())]

    def _found(self, env_observation: Observation) -> dict[str, Any]:
        """Returns what stands under each source, checked."""
        keys = [*self.sources, *([INSTRUCTION] if self._source_spec.needs_instruction else [])]
        found = {key: self._looked_up(env_observation, key) for key in keys}
        try:
            self._source_spec.check_observation(found)
        except MissingObservation as error:
            raise MissingObservation(f"{self.title}: {error}") from error
        return found

    def _looked_up(self, env_observation: Observation, key: str) -> Any:
        """Returns what stands under a key, or under its parts one in the other."""
        value: Any = env_observation
        for part in [key] if key in env_observation else key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise MissingObservation(f'{self.title} needs the key "{key}"; the observation has {_known_keys(env_observation)}')
            value = value[part]
        return value if isinstance(value, str) else np.asarray(value)

    def _model_value(self, key: str, model_input: ModelInput, found: Mapping[str, Any]) -> Any:
        if model_input.is_text:
            return found[INSTRUCTION]
        try:
            return self._model_array(model_input, found)
        except MismatchedTransform as error:
            raise MismatchedTransform(f'{self.title}, model key "{key}": {error}') from error

    def _model_array(self, model_input: ModelInput, found: Mapping[str, Any]) -> NDArray[Any]:
        if model_input.source is not None:
            value = np.atleast_1d(found[model_input.source])  # openpi's clients, too, send a single number as a vector
        else:
            parts = [self._model_array(part, found) for part in model_input.concatenate]
            value = _joined(parts)
        for step in model_input.steps:
            value = step(value, found, self._statistics)
        # A turned picture is a view with negative strides, which PyTorch refuses.
        return np.ascontiguousarray(value, dtype=np.uint8 if value.dtype == np.uint8 else np.float32)

    def _zeros(self) -> dict[str, Any]:
        """Returns an observation of zeros as this map needs it; what has three axes is taken for an image."""
        zeros: dict[str, Any] = {INSTRUCTION: ""}
        for key, shape in self.sources.items():
            sizes = [REHEARSAL_SIZE if size is None else size for size in shape]
            zeros[key] = np.zeros(sizes, np.uint8 if len(sizes) == IMAGE_AXES else np.float32)
        return zeros


def known_maps() -> list[str]:
    """Returns the names of the maps that come with the package."""
    return sorted(file.stem for file in share_file("config/openpi_libero.yaml").parent.glob("openpi_*.yaml"))


def _map_file(text: str) -> Path:
    if text.endswith((".yaml", ".yml")):
        if not Path(text).is_file():
            raise MissingFile(f"there is no observation map {text}; those that come with the package are {known_maps()}")
        return Path(text)
    try:
        return share_file(f"config/{text}.yaml")
    except MissingFile as error:
        raise MissingFile(f"unknown observation map {text!r}; expected one of {known_maps()} or the path of a YAML file") from error


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    try:
        return np.concatenate(parts, axis=-1)
    except ValueError as error:
        raise MismatchedTransform(f"concatenate: the shapes {[part.shape for part in parts]} do not join") from error


def _put(mapping: dict[str, Any], path: list[str], value: Any) -> None:
    """Sets a value at a path of nested keys."""
    for part in path[:-1]:
        mapping = mapping.setdefault(part, {})
    mapping[path[-1]] = value


def _known_keys(observation: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns the keys of an observation, nested ones with dots between."""
    keys: list[str] = []
    for key, value in observation.items():
        keys += _known_keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return sorted(keys)
