"""Steps an environment without drawing what no policy will see."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


def lazy_step(env: gym.Env[Any, Any], action: Any, look: bool) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
    """Steps an environment that, without `look`, draws no images if it can do without.

    An environment can when its innermost one has a bool `look`: while that is False, its observations hold the images of its last
    look, unless the episode ends. Afterwards it is True again, also when the step fails. Any other environment is just stepped.

    >>> class Camera(gym.Env):
    ...     look, drawn = True, 0
    ...     def step(self, action):
    ...         self.drawn += self.look
    ...         return {"image_front": self.drawn}, 0.0, False, False, {}
    >>> env = Camera()
    >>> [lazy_step(env, None, look)[0]["image_front"] for look in (True, False, False, True)]
    [1, 1, 1, 2]
    """
    innermost: Any = env.unwrapped
    if look or not isinstance(getattr(innermost, "look", None), bool):
        return env.step(action)
    innermost.look = False
    try:
        return env.step(action)
    finally:
        innermost.look = True
