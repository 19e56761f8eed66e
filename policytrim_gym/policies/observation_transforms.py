"""The transforms that an observation map may name, with their arguments checked before anything is transformed."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_type_hints

from numpy.typing import NDArray

from policytrim_gym.config import from_mapping
from policytrim_gym.errors import InvalidConfig, MismatchedTransform
from policytrim_gym.policies import image_transforms as image
from policytrim_gym.policies import vector_transforms as vector
from policytrim_gym.policies.norm_statistics import NormStatistics

FUNCTIONS: dict[str, Callable[..., NDArray[Any]]] = {
    function.__name__: function
    for function in (
        image.resize_with_pad,
        image.center_crop,
        image.rotate_180,
        image.flip_vertical,
        image.reverse_channels,
        image.to_float,
        image.to_uint8,
        image.channels_first,
        image.channels_last,
        vector.select,
        vector.take,
        vector.pad_to,
        vector.reorder,
        vector.restore_order,
        vector.invert,
        vector.clip,
        vector.normalize_z_score,
        vector.unnormalize_z_score,
        vector.normalize_quantile,
        vector.unnormalize_quantile,
        vector.quaternion_to_axis_angle,
        vector.convert_gripper,
        vector.binarize,
        vector.delta_to_absolute,
        vector.absolute_to_delta,
    )
}

BOUND_AT_CALL = (NormStatistics, vector.EnvArray)
"""Types of arguments that a map gives as a key, since their values are known later."""

TransformEntry = str | dict[str, dict[str, Any]]
"""As YAML has it: `rotate_180`, or `resize_with_pad: {height: 224, width: 224}`."""


@dataclass(frozen=True)
class Transform:
    """A named transform with its arguments.

    Args:
        name: one of FUNCTIONS.
        arguments: by name; of statistics the name of their entry, of an environment's array its key in the observation.

    Raises:
        InvalidConfig: an unknown name or argument, a missing one or one of another type.

    >>> import numpy as np
    >>> Transform("take", {"count": 2})(np.array([1.0, 2.0, 3.0]))
    array([1., 2.])
    >>> Transform("take", {"cuont": 2})
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: unknown key "cuont" in take; did you mean "count"?
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in FUNCTIONS:
            close = difflib.get_close_matches(str(self.name), FUNCTIONS, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"known: {', '.join(FUNCTIONS)}"
            raise InvalidConfig(f'unknown transform "{self.name}"; {hint}')
        object.__setattr__(self, "arguments", vars(from_mapping(_arguments_class(self.name), self.arguments, self.name)))

    @classmethod
    def of(cls, entry: TransformEntry) -> Transform:
        """Returns the transform of an entry as YAML has it.

        Raises:
            InvalidConfig: a mapping of several names, which had no order, or what the constructor refuses.
        """
        if isinstance(entry, str):
            return cls(entry)
        if len(entry) != 1:
            raise InvalidConfig(f"an item of transforms must be one name, or one name with its arguments, got {sorted(entry)}")
        ((name, arguments),) = entry.items()
        return cls(name, arguments)

    @property
    def env_keys(self) -> tuple[str, ...]:
        """Keys of the environment's observation that an argument is read from."""
        return tuple(self.arguments[name] for name, kind in _parameters(self.name).items() if kind is vector.EnvArray)

    def __call__(
        self,
        values: NDArray[Any],
        env_arrays: Mapping[str, NDArray[Any]] | None = None,
        statistics: Mapping[str, NormStatistics] | None = None,
    ) -> NDArray[Any]:
        """Returns the transformed values.

        Args:
            values: what the function of this name takes.
            env_arrays: what stands under the keys `env_keys`.
            statistics: by the name of their entry.

        Raises:
            MismatchedTransform: values, statistics or arguments that do not fit each other; the message names the transform.
        """
        bound = dict(self.arguments)
        for name, kind in _parameters(self.name).items():
            if kind in BOUND_AT_CALL:
                source = (statistics if kind is NormStatistics else env_arrays) or {}
                if bound[name] not in source:
                    raise MismatchedTransform(f'{self.name}: there is no {name} "{bound[name]}"; there are {sorted(source)}')
                bound[name] = source[bound[name]]
        try:
            return FUNCTIONS[self.name](values, **bound)
        except MismatchedTransform as error:
            raise MismatchedTransform(f"{self.name}: {error}") from error


@cache
def _parameters(name: str) -> dict[str, Any]:
    """Returns the types of a transform's arguments, without the values that it transforms."""
    hints = get_type_hints(FUNCTIONS[name], include_extras=True)
    return {parameter: hints[parameter] for parameter in list(inspect.signature(FUNCTIONS[name]).parameters)[1:]}


@cache
def _arguments_class(name: str) -> type:
    """Returns a config dataclass of a transform's arguments, so that they are checked as every other configuration is."""
    defaults = inspect.signature(FUNCTIONS[name]).parameters
    fields: list[Any] = []
    for parameter, kind in _parameters(name).items():
        type_ = str if kind in BOUND_AT_CALL else kind
        default = defaults[parameter].default
        fields.append((parameter, type_) if default is inspect.Parameter.empty else (parameter, type_, field(default=default)))
    return dataclasses.make_dataclass(name, fields, frozen=True)
