"""Between normalised increments, on which a network learns and explores, and the actions that an environment takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import InvalidSpec


class ActionIncrements:
    """The increments d of a chunk of actions a, and back.

        a_k = state[o] + sum_{i <= k} scale d_i    on a dimension that continues the number state[o], its origin
        a_k = scale d_k                            on a dimension without an origin

    The origin is where the robot was when it was asked, so that the network learns motion and not places. Unlike an environment's "delta"
    actions, which each add to where the robot then is, these are summed here: the actions are targets, and a late or lost one does no
    lasting harm.

    Args:
        origins: for each dimension the index of its origin in the state, or None, (action_dim,).
        scale: size of one normalised unit, (action_dim,) above 0 [action units]; None is 1 everywhere.

    Raises:
        InvalidSpec: a scale of another length, or one that is not finite and above 0.

    >>> increments = ActionIncrements(origins=(0, None), scale=[0.5, 1.0])
    >>> state = torch.tensor([[10.0, 7.0]])
    >>> targets = increments.to_actions(torch.tensor([[[1.0, 0.3], [2.0, 0.4]]]), state)
    >>> targets
    tensor([[[10.5000,  0.3000],
             [11.5000,  0.4000]]])
    >>> increments.from_actions(targets, state)
    tensor([[[1.0000, 0.3000],
             [2.0000, 0.4000]]])
    """

    def __init__(self, origins: Sequence[int | None], scale: ArrayLike | None = None) -> None:
        values = np.ones(len(origins), np.float32) if scale is None else np.asarray(scale, dtype=np.float32)
        if values.shape != (len(origins),) or not np.isfinite(values).all() or not (values > 0).all():
            raise InvalidSpec(f"action_scale must be {len(origins)} finite numbers above 0, got {values.tolist()}")
        self.scale = torch.tensor(values)
        self.continued = [dimension for dimension, origin in enumerate(origins) if origin is not None]
        """Dimensions with an origin."""
        self._origins = [origin for origin in origins if origin is not None]

    @property
    def is_identity(self) -> bool:
        """Whether actions are their own increments."""
        return not self.continued and bool((self.scale == 1).all())

    def to_actions(self, increments: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Returns the actions (B, H, A) that the increments (B, H, A) mean in the states (B, state_size)."""
        actions = increments * self.scale
        if self.continued:
            moved = actions[..., self.continued].cumsum(dim=1)
            actions[..., self.continued] = state[:, None, self._origins] + moved
        return actions

    def from_actions(self, actions: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Returns the increments (B, H, A) with which the actions (B, H, A) follow the states (B, state_size)."""
        increments = actions.clone()
        if self.continued:
            targets = actions[..., self.continued]
            before = torch.cat([state[:, None, self._origins], targets[:, :-1]], dim=1)
            increments[..., self.continued] = targets - before
        return increments / self.scale


def is_motion(action_kinds: Sequence[str] | None, action_origins: Sequence[int | None]) -> NDArray[np.bool_]:
    """Returns for each dimension whether its increments are motions, (action_dim,): "delta" actions, and targets with an origin.

    >>> is_motion(("delta", "position", "position"), (None, 4, None))
    array([ True,  True, False])
    """
    kinds = action_kinds or ("position",) * len(action_origins)
    return np.array([kind == "delta" or origin is not None for kind, origin in zip(kinds, action_origins)])
