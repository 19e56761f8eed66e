"""The statistics by which a model's observations were normalised while it was trained."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import CorruptCheckpoint

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecNormalize

MEMBER = "normalization.json"
BOX_KEY = ""


class ObservationNormalizer:
    """Does what SB3's `VecNormalize` did to observations: clip((x - mean) / sqrt(var + epsilon), -clip, clip).

    `VecNormalize` keeps its statistics in a pickle beside the model, where they can be forgotten or belong to another model. Here they
    are a member of the model's own archive, as JSON, so that the two are written and read as one.

    Args:
        statistics: for each normalised key `mean`, `var` (shape of the feature) and `count`; the key of a plain Box is "".
        clip: largest magnitude of a normalised number.
        epsilon: added to the variance.

    >>> normalizer = ObservationNormalizer({"": {"mean": [1.0], "var": [4.0], "count": 10.0}}, clip=10.0, epsilon=0.0)
    >>> normalizer(np.array([[5.0], [1.0]], np.float32)).tolist()
    [[2.0], [0.0]]
    """

    def __init__(self, statistics: Mapping[str, Mapping[str, Any]], clip: float, epsilon: float) -> None:
        self.statistics = {
            key: {name: np.asarray(values[name], np.float64) for name in ("mean", "var", "count")} for key, values in statistics.items()
        }
        self.clip, self.epsilon = float(clip), float(epsilon)

    def __call__(self, observation: Any) -> Any:
        """Returns a batch, normalised: an array (n, ...), or a mapping of arrays of which keys without statistics stay as they are."""
        if not isinstance(observation, Mapping):
            return self._normalized(BOX_KEY, observation)
        return {key: self._normalized(key, value) if key in self.statistics else value for key, value in observation.items()}

    def _normalized(self, key: str, values: NDArray[Any]) -> NDArray[np.float32]:
        mean, var = self.statistics[key]["mean"], self.statistics[key]["var"]
        return np.clip((values - mean) / np.sqrt(var + self.epsilon), -self.clip, self.clip).astype(np.float32)

    @classmethod
    def of(cls, vec_normalize: VecNormalize | None) -> ObservationNormalizer | None:
        """Returns the present statistics; None where observations are not normalised."""
        if vec_normalize is None or not vec_normalize.norm_obs:
            return None
        found = vec_normalize.obs_rms
        by_key = found if isinstance(found, dict) else {BOX_KEY: found}
        statistics = {key: {"mean": rms.mean, "var": rms.var, "count": rms.count} for key, rms in by_key.items()}
        return cls(statistics, vec_normalize.clip_obs, vec_normalize.epsilon)

    def restore(self, vec_normalize: VecNormalize) -> None:
        """Sets the statistics of a `VecNormalize`, for a training that goes on."""
        found = vec_normalize.obs_rms
        for key, rms in (found if isinstance(found, dict) else {BOX_KEY: found}).items():
            rms.mean, rms.var = self.statistics[key]["mean"].copy(), self.statistics[key]["var"].copy()
            rms.count = float(self.statistics[key]["count"])

    def add_to(self, archive: str) -> None:
        """Adds the statistics to a model's archive."""
        statistics = {key: {name: array.tolist() for name, array in values.items()} for key, values in self.statistics.items()}
        with zipfile.ZipFile(archive, "a") as file:
            file.writestr(MEMBER, json.dumps({"clip": self.clip, "epsilon": self.epsilon, "statistics": statistics}))

    @classmethod
    def read(cls, archive: Path) -> ObservationNormalizer | None:
        """Returns the statistics in a model's archive; None where it holds none.

        Raises:
            CorruptCheckpoint: the archive or its member is damaged.
        """
        try:
            with zipfile.ZipFile(archive) as file:
                if MEMBER not in file.namelist():
                    return None
                values = json.loads(file.read(MEMBER))
            return cls(values["statistics"], values["clip"], values["epsilon"])
        except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
            raise CorruptCheckpoint(f"{archive} is not a readable model archive: {error}") from error
