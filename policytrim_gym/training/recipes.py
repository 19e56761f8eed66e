"""Settings of a trim for a model by its name: config/recipes/*.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policytrim_gym.chunk import check_horizon
from policytrim_gym.config import check_fields, load_yaml
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.share import share_file
from policytrim_gym.training.trim_config import TrimConfig

FOLDER = "config/recipes"
RECIPES = ("groot", "openvla_oft", "pi05", "pi0_flow_sde")


@dataclass(frozen=True)
class Recipe:
    """How a model is trimmed, and how sure that is.

    Args:
        model: whom the settings are for.
        status: whether anybody has trimmed the model with them in this package.
        source: where the published settings come from.
        chunk_size, stock_horizon: of the model that they are for [steps].
        trim: the settings.

    Raises:
        InvalidConfig, InvalidHorizon: a field of another type, or a horizon beyond the chunk.

    >>> load_recipe("pi05").trim.windows
    (5, 10, 15)
    >>> load_recipe("pi06")
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: no recipe 'pi06'; known: groot, openvla_oft, pi05, pi0_flow_sde
    """

    model: str
    status: Literal["not run here", "run here"]
    source: str
    chunk_size: int
    stock_horizon: int
    trim: TrimConfig

    def __post_init__(self) -> None:
        check_fields(self)
        for horizon in (self.stock_horizon, *(self.trim.windows or ())):
            check_horizon(horizon, self.chunk_size)


def load_recipe(name: str) -> Recipe:
    """Returns a recipe that comes with the package.

    Raises:
        InvalidConfig: there is none of that name, or its file is wrong; the message names what is known, or the file.
        MissingFile: the installation lacks the file.
    """
    if name not in RECIPES:
        raise InvalidConfig(f"no recipe {name!r}; known: {', '.join(RECIPES)}")
    return load_yaml(Recipe, share_file(f"{FOLDER}/{name}.yaml"))
