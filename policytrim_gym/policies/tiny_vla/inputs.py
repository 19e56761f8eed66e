"""Turns observations into a tiny VLA's tensors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from policytrim_gym.errors import InvalidSpec, MissingObservation, PolicyTrimWarning
from policytrim_gym.policies.tiny_vla.configuration import TinyVLAConfig
from policytrim_gym.policy import Observation


class UnknownWords(PolicyTrimWarning):
    """An instruction has words of which the policy knows nothing."""


class TinyVLAInputs(NamedTuple):
    """What the model takes, for B observations."""

    images: torch.Tensor  # (B, cameras, size, size, 3) uint8
    tokens: torch.Tensor  # (B, prompt_length) int64, padded with 0
    state: torch.Tensor  # (B, state_size) float32

    def rows(self, index: torch.Tensor) -> TinyVLAInputs:
        """Returns some of the observations."""
        return TinyVLAInputs(*(tensor[index] for tensor in self))


class TinyVLAEncoder:
    """Stacks images and states, and looks up the words of instructions.

    Args:
        config: of the model.
        tokenizer: of transformers; its padding is token 0.

    Raises:
        InvalidSpec: a tokenizer of another vocabulary, or with other padding.
    """

    def __init__(self, config: TinyVLAConfig, tokenizer: Any) -> None:
        if len(tokenizer) != config.vocab_size:
            raise InvalidSpec(f"the tokenizer must have the model's {config.vocab_size} tokens (vocab_size), got {len(tokenizer)}")
        if tokenizer.pad_token_id != 0:
            raise InvalidSpec(f"the tokenizer must pad with token 0, got {tokenizer.pad_token_id}")
        if tokenizer.unk_token_id is None:
            raise InvalidSpec("the tokenizer must have a token for unknown words (unk_token), it has none")
        self._config, self._tokenizer = config, tokenizer
        self._prompts: dict[str, list[int]] = {}

    def __call__(self, observations: Sequence[Observation]) -> TinyVLAInputs:
        """Returns the inputs for observations that the policy's spec has accepted.

        Raises:
            MissingObservation: images that are not uint8, or an instruction that is empty or longer than the prompt.
        """
        tokens = [self._prompt(observation["instruction"]) for observation in observations]
        images = np.stack([[_checked(observation[key], key) for key in self._config.image_keys] for observation in observations])
        states = np.stack([np.asarray(observation["state"], dtype=np.float32) for observation in observations])
        return TinyVLAInputs(torch.from_numpy(images), torch.tensor(tokens), torch.from_numpy(states))

    def words_read(self, instruction: str) -> str:
        """Returns the words that the model gets of an instruction: lower-case, without signs that it does not know."""
        return " ".join(self._tokenizer.convert_ids_to_tokens([token for token in self._prompt(instruction) if token]))

    def _prompt(self, instruction: str) -> list[int]:
        """Returns the tokens of an instruction, padded to `prompt_length`; warns once of words that no demonstration had."""
        if instruction not in self._prompts:
            tokens, strange_words = self._read(instruction)
            most = self._config.prompt_length
            if not 1 <= len(tokens) <= most:
                raise MissingObservation(
                    f'observation["instruction"] must have 1 to {most} tokens (prompt_length), got {len(tokens)}: {instruction[:60]!r}'
                )
            if strange_words:
                words = f"{instruction[:60]!r} has words that the policy was not cloned with: {strange_words}"
                warnings.warn(words, UnknownWords, stacklevel=2)
            self._prompts[instruction] = tokens + [0] * (most - len(tokens))
        return self._prompts[instruction]

    def _read(self, instruction: str) -> tuple[list[int], list[str]]:
        """Returns the tokens but for signs that the tokenizer does not know, such as a full stop, and the words that it does not know."""
        read = self._tokenizer(instruction, add_special_tokens=False, return_offsets_mapping=True)
        unknown = self._tokenizer.unk_token_id
        pairs = [(token, instruction[start:end]) for token, (start, end) in zip(read["input_ids"], read["offset_mapping"])]
        kept = [(token, word) for token, word in pairs if token != unknown or any(map(str.isalnum, word))]
        return [token for token, _ in kept], [word for token, word in kept if token == unknown]


def _checked(image: Any, key: str) -> np.ndarray:
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise MissingObservation(f'observation["{key}"] must be uint8 in 0..255, got {array.dtype}')
    return array


def shift_images(images: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    """Returns each image shifted by -most..most pixels in each direction, its border repeated (DrQ, arXiv 2004.13649).

    A small encoder that has seen every demonstration at the same pixels learns these pixels by heart.

    Args:
        images: (B, cameras, height, width, 3).
        most: largest shift [pixels]; all cameras of an observation shift alike.
        generator: of the shifts.
    """
    if most == 0:
        return images
    shifts = torch.randint(-most, most + 1, (len(images), 2), generator=generator)
    height, width = images.shape[2:4]
    rows = (torch.arange(height) + shifts[:, :1]).clamp(0, height - 1)  # (B, height)
    columns = (torch.arange(width) + shifts[:, 1:]).clamp(0, width - 1)
    batch = torch.arange(len(images))[:, None, None]
    return images.transpose(1, 2).transpose(2, 3)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2, 4)
