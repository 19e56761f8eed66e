"""The tiny VLA as a policy that can be cloned, asked and trained by RL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidSpec
from policytrim_gym.policies.action_increments import ActionIncrements, is_motion
from policytrim_gym.policies.gaussian_head import gaussian_log_prob, sample_gaussian
from policytrim_gym.policies.observation_noise import observation_generator
from policytrim_gym.policies.row_blocks import row_blocks
from policytrim_gym.policies.tiny_vla.heads import Decoded
from policytrim_gym.policies.tiny_vla.inputs import TinyVLAEncoder, TinyVLAInputs, shift_images
from policytrim_gym.policies.tiny_vla.modeling import TinyVLAModel
from policytrim_gym.policies.tiny_vla.settings import EXPLORATION
from policytrim_gym.policy import ChunkSample, Observation, TrainableChunkPolicy
from policytrim_gym.spec import PolicySpec

STATE_NOISE = 0.02
"""Noise on the normalised state when imitating, which keeps a clone near its demonstrations."""


class TinyVLATrace(NamedTuple):
    """What was sampled, for its likelihood under other weights."""

    given: torch.Tensor  # what the mean was computed from beside the observation: x before the last denoising step, or (0,)
    increments: torch.Tensor  # (H, A), normalised, before they are made actions
    spread: torch.Tensor  # (H, A), marginal standard deviation
    noise: float  # a of Flow-SDE, or 0


class TinyVLAPolicy(TrainableChunkPolicy):
    """Predicts a chunk from images, instruction and proprioception, on two CPU cores.

    A prediction of the flow head starts from noise that is drawn from the seed of `reset` and the observation, so that it depends neither
    on the order in which environments ask nor on how many do. Network, exploration and imitation work on normalised increments (see
    `ActionIncrements`).

    Args:
        model: its weights are trained in place.
        tokenizer: of transformers, with the words of the instructions.

    Raises:
        InvalidSpec: a tokenizer that is not the model's.

    >>> from policytrim_gym.policies.tiny_vla.building import random_tiny_vla
    >>> policy = random_tiny_vla(texts=["lift the cube"], image_size=32, state_size=2, action_dim=1, chunk_size=4, execute_horizon=2)
    >>> observation = {"image_front": np.zeros((32, 32, 3), np.uint8), "state": [0.1, 0.2], "instruction": "lift the cube"}
    >>> policy.predict_action_chunk(observation).actions.shape
    (4, 1)
    >>> policy.sample_chunks([observation], torch.Generator())[0].log_probs.shape
    (4,)
    """

    model_type = "policytrim_tiny_vla"

    def __init__(self, model: TinyVLAModel, tokenizer: Any) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.config = model.config
        self._spec = self.config.to_spec()
        self._encoder = TinyVLAEncoder(self.config, tokenizer)
        self._is_motion = torch.from_numpy(is_motion(self._spec.action_kinds, self.config.origins).astype(np.float32))
        self._increments = ActionIncrements(self.config.origins, model.action_scale.numpy())
        self.exploration_start, self.exploration_end = EXPLORATION[self.config.head]
        self._seed = 0
        model.choose_trainable()

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def set_execute_horizon(self, execute_horizon: int) -> None:
        """Makes `execute_horizon` the one that the spec and the checkpoint name."""
        self._spec = self._spec.with_horizon(execute_horizon)

    def set_normalisation(self, mean: ArrayLike, std: ArrayLike) -> None:
        """Sets mean and standard deviation of the state, (state_size,) each."""
        self.model.encoder.state_mean.copy_(torch.as_tensor(np.asarray(mean), dtype=torch.float32))
        self.model.encoder.state_std.copy_(torch.as_tensor(np.asarray(std), dtype=torch.float32))

    def set_action_scale(self, scale: ArrayLike) -> None:
        """Sets the size of one normalised unit, (action_dim,) above 0 [action units]; the weights are left as they are."""
        self._increments = ActionIncrements(self.config.origins, scale)
        self.model.action_scale.copy_(self._increments.scale)

    def reset(self, seed: int | None = None) -> None:
        if seed is not None:
            self._seed = seed

    def set_exploration(self, **values: float) -> None:
        self.model.head.set_exploration(**values)

    def predict_action_chunk(self, observation: Observation) -> ActionChunk:
        return self.predict_action_chunks([observation])[0]

    def predict_action_chunks(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        inputs = self.encode(observations)
        read = [{**observation, "instruction": self._encoder.words_read(observation["instruction"])} for observation in observations]
        generators = [observation_generator(observation, self.config.image_keys, self._seed) for observation in read]
        best = self._decode(inputs, self.model.head.draw(generators)).best
        return [ActionChunk(chunk) for chunk in self._increments.to_actions(best, inputs.state).numpy()]

    @torch.no_grad()
    def sample_chunks(
        self, observations: Sequence[Observation], generator: torch.Generator | Sequence[torch.Generator]
    ) -> list[ChunkSample]:
        inputs, head = self.encode(observations), self.model.head
        generators = [generator] * len(observations) if isinstance(generator, torch.Generator) else generator
        given, mean, _ = self._decode(inputs, head.draw(generators))
        samples, spread = sample_gaussian(mean, self._is_motion, head.exploration, generators, head.relative_spread)
        log_probs = gaussian_log_prob(samples, mean, spread)
        actions = self._increments.to_actions(samples, inputs.state)
        return [
            ChunkSample(chunk.numpy(), log_prob.numpy(), TinyVLATrace(before, sample, std, head.noise))
            for chunk, log_prob, before, sample, std in zip(actions, log_probs, given, samples, spread)
        ]

    def evaluate_chunks(self, observations: Sequence[Observation], traces: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        given = torch.stack([trace.given for trace in traces])
        noise = torch.tensor([trace.noise for trace in traces])[:, None, None]
        mean = self.model.head.mean(self.model(*self.encode(observations)), given, noise)
        samples = torch.stack([trace.increments for trace in traces])
        return gaussian_log_prob(samples, mean, torch.stack([trace.spread for trace in traces])), None  # the spread is fixed

    def imitation_loss(self, observations: Sequence[Observation], actions: NDArray[np.float32], generator: torch.Generator) -> torch.Tensor:
        images, tokens, state = self.encode(observations)
        noise = torch.randn(state.shape, generator=generator) * self.model.encoder.state_std * STATE_NOISE
        features = self.model(shift_images(images, self.config.shift_pixels, generator), tokens, state + noise)
        target = self._increments.from_actions(torch.from_numpy(actions), state)
        return self.model.head.imitation_loss(features, target, self._increments.continued, generator)

    def encode(self, observations: Sequence[Observation]) -> TinyVLAInputs:
        """Returns the model's inputs; raises MissingObservation where an observation does not fit the spec."""
        for observation in observations:
            self._spec.check_observation(observation)
        return self._encoder(observations)

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.model.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        try:
            self.model.load_state_dict(state)
        except RuntimeError as error:
            raise InvalidSpec(f"the weights must be those of this policy: {str(error).splitlines()[1].strip()}") from error
        self._increments = ActionIncrements(self.config.origins, self.model.action_scale.numpy())

    def save_pretrained(self, folder: str) -> None:
        from policytrim_gym.policies.tiny_vla.checkpoint import save_tiny_vla

        save_tiny_vla(self, folder)

    @torch.no_grad()
    def _decode(self, inputs: TinyVLAInputs, noise: torch.Tensor) -> Decoded:
        """Returns what the head makes of each observation, from forward passes of exactly `batch_block` rows."""
        blocks = row_blocks(len(noise), self.config.batch_block)
        parts = [self.model.head.decode(self.model(*inputs.rows(index)), noise[index]) for index in blocks]
        return Decoded(*(torch.cat(tensors)[: len(noise)] for tensors in zip(*parts)))
