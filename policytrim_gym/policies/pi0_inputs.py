"""Turns observations into the tensors that pi0 takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from policytrim_gym.errors import InvalidSpec, MissingObservation
from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.pi0_images import prepare_image
from policytrim_gym.policies.pi0_interface import Pi0Interface
from policytrim_gym.policies.vector_transforms import normalize_z_score
from policytrim_gym.policy import Observation


class Pi0Inputs(NamedTuple):
    """Arguments of `PI0ForConditionalGeneration.forward`, by their names there."""

    state: torch.Tensor  # (B, max_state_dim), normalised, 0 where padded
    input_ids: torch.Tensor  # (B, T): places of the images, then the instruction, then padding
    attention_mask: torch.Tensor  # (B, T)
    pixel_values: torch.Tensor  # (B, C, 3, size, size) in [-1, 1]
    pixel_attention_mask: torch.Tensor  # (B, C)

    def rows(self, index: torch.Tensor) -> Pi0Inputs:
        """Returns some of the rows, in the order of `index`."""
        return Pi0Inputs(*(tensor[index] for tensor in self))


class Pi0Encoder:
    """Makes inputs of a fixed length, so that they do not depend on what else is in a batch.

    Args:
        model_config: a PI0Config.
        tokenizer: of transformers, with a beginning-of-sequence token.
        interface: cameras and length of the prompt.
        state_statistics: mean and standard deviation of the state.
        device: where the tensors go.

    Raises:
        InvalidSpec: a state that is larger than the model's, or a tokenizer without a first token that the model knows.

    >>> from policytrim_gym.policies.pi0_small import small_pi0_policy
    >>> observation = {"image_front": np.zeros((48, 64, 3), np.uint8), "state": [0.1, 0.2], "instruction": "lift"}
    >>> small_pi0_policy(state_size=2, action_dim=1, texts=["lift"]).encode([observation]).pixel_values.shape
    torch.Size([1, 1, 3, 64, 64])
    """

    def __init__(
        self, model_config: Any, tokenizer: Any, interface: Pi0Interface, state_statistics: NormStatistics, device: torch.device
    ) -> None:
        vision = model_config.vlm_config.vision_config
        self._image_size = vision.image_size
        num_places = len(interface.cameras) * (vision.image_size // vision.patch_size) ** 2
        self._places = [model_config.vlm_config.image_token_id] * num_places
        self._max_state_dim = model_config.max_state_dim
        self._tokenizer, self._interface, self._state_statistics, self._device = tokenizer, interface, state_statistics, device
        self._prompts: dict[str, list[int]] = {}
        state_size, most = len(state_statistics.mean), self._max_state_dim
        if state_size > most:
            raise InvalidSpec(f"a state must have at most {most} numbers (max_state_dim), got statistics of {state_size}")
        if tokenizer.bos_token_id is None:
            raise InvalidSpec("the tokenizer of pi0 must have a bos_token, got none")
        vocabulary_size = model_config.vlm_config.text_config.vocab_size
        if tokenizer.bos_token_id >= vocabulary_size:
            raise InvalidSpec(f"the tokenizer must fit the model's {vocabulary_size} tokens, got bos_token {tokenizer.bos_token_id}")

    def __call__(self, observations: Sequence[Observation]) -> Pi0Inputs:
        """Returns the inputs for observations that the policy's spec has accepted.

        Raises:
            MissingObservation: images that are not uint8, or an instruction longer than the prompt.
        """
        states = np.stack([np.asarray(observation["state"], dtype=np.float32) for observation in observations])
        state = torch.zeros(len(observations), self._max_state_dim)
        state[:, : states.shape[1]] = torch.from_numpy(normalize_z_score(states, self._state_statistics))
        keys = [f"image_{camera}" for camera in self._interface.cameras]
        images = np.stack([[prepare_image(seen[key], self._image_size, key) for key in keys] for seen in observations])
        prompts = [self._prompt(observation["instruction"]) for observation in observations]
        length = self._interface.prompt_length
        padding = self._tokenizer.pad_token_id or 0
        input_ids = [self._places + prompt + [padding] * (length - len(prompt)) for prompt in prompts]
        mask = [[1] * (len(self._places) + len(prompt)) + [0] * (length - len(prompt)) for prompt in prompts]
        inputs = Pi0Inputs(
            state, torch.tensor(input_ids), torch.tensor(mask), torch.from_numpy(images), torch.ones(images.shape[:2], dtype=torch.bool)
        )
        return Pi0Inputs(*(tensor.to(self._device) for tensor in inputs))

    def _prompt(self, instruction: str) -> list[int]:
        """Returns the tokens of an instruction between a first token and a line's end, as pi0 was trained."""
        if instruction not in self._prompts:
            tokens = [self._tokenizer.bos_token_id, *self._tokenizer(f"{instruction}\n", add_special_tokens=False)["input_ids"]]
            if len(tokens) > self._interface.prompt_length:
                raise MissingObservation(
                    f'observation["instruction"] must have at most {self._interface.prompt_length} tokens (prompt_length), '
                    f"got {len(tokens)}: {instruction[:60]!r}"
                )
            self._prompts[instruction] = tokens
        return self._prompts[instruction]
