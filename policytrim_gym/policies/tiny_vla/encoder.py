"""From what a tiny VLA sees, reads and measures to one vector of features."""

from __future__ import annotations

import math

import torch
from torch import nn

from policytrim_gym.policies.tiny_vla.configuration import TinyVLAConfig

PROPRIOCEPTION_SIZE, IMAGE_SIZE = 64, 256
NUM_KEYPOINTS, NUM_MAPS = 32, 8


class InstructionEncoder(nn.Module):
    """Words and their places -> (B, instruction_size); padding, token 0, has no part in it."""

    def __init__(self, config: TinyVLAConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.instruction_size, padding_idx=0)
        self.places = nn.Parameter(torch.randn(config.prompt_length, config.instruction_size))
        self.mix = nn.Linear(config.instruction_size, config.instruction_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, prompt_length) int64 -> (B, instruction_size)."""
        known = (tokens > 0).unsqueeze(-1).float()
        words = nn.functional.gelu(self.mix(self.words(tokens) + self.places)) * known
        return words.sum(dim=1) / known.sum(dim=1).clamp(min=1)


class ImageEncoder(nn.Module):
    """A convolutional network whose channels the instruction scales and shifts (FiLM, arXiv 1709.07871).

    It looks at an image in two ways: keypoints, the mean place of each of 32 maps (spatial softmax, arXiv 1509.06113), tell where things
    are more finely than the map's grid; a few coarse maps, read cell by cell, tell what is where.
    """

    def __init__(self, config: TinyVLAConfig) -> None:
        super().__init__()
        narrow, middle, wide = (config.image_channels * factor for factor in (1, 2, 3))
        self.first = nn.Conv2d(3, narrow, 5, stride=2, padding=2)
        self.second = nn.Conv2d(narrow, middle, 3, stride=2, padding=1)
        self.third = nn.Conv2d(middle, wide, 3, stride=2, padding=1)
        self.last = nn.Conv2d(wide, wide, 3, padding=1)
        self.film = nn.Linear(config.instruction_size, 2 * (middle + wide))
        self._film_sizes = (middle, middle, wide, wide)
        self.keypoints = nn.Conv2d(middle, NUM_KEYPOINTS, 1)
        self.maps = nn.Conv2d(wide, NUM_MAPS, 1)
        coarse = math.ceil(config.image_size / 8)
        self.out = nn.Linear(2 * NUM_KEYPOINTS + NUM_MAPS * coarse**2, IMAGE_SIZE)

    def forward(self, images: torch.Tensor, instruction: torch.Tensor) -> torch.Tensor:
        """(B, 3, size, size) in [-0.5, 0.5] and (B, instruction_size) -> (B, 256)."""
        gain, shift, last_gain, last_shift = self.film(instruction)[..., None, None].split(self._film_sizes, dim=1)
        x = torch.relu(self.first(images))
        x = torch.relu(self.second(x) * (1 + gain) + shift)
        line = torch.linspace(-1.0, 1.0, x.shape[-1], device=x.device)
        places = torch.cartesian_prod(line, line)
        keypoints = self.keypoints(x).flatten(2).softmax(dim=-1) @ places  # (B, 32, 2)
        x = torch.relu(self.third(x))
        x = torch.relu(x + self.last(x) * (1 + last_gain) + last_shift)
        return torch.relu(self.out(torch.cat([keypoints.flatten(1), torch.relu(self.maps(x)).flatten(1)], dim=1)))


class ObservationEncoder(nn.Module):
    """Images, instruction and proprioception -> features; its buffers hold the state's normalisation, saved with the weights."""

    state_mean: torch.Tensor
    state_std: torch.Tensor

    def __init__(self, config: TinyVLAConfig) -> None:
        super().__init__()
        self.register_buffer("state_mean", torch.zeros(config.state_size))
        self.register_buffer("state_std", torch.ones(config.state_size))
        self.instruction = InstructionEncoder(config)
        self.images = nn.ModuleList(ImageEncoder(config) for _ in config.cameras)
        self.proprioception = nn.Linear(config.state_size, PROPRIOCEPTION_SIZE)
        size = len(config.cameras) * IMAGE_SIZE + PROPRIOCEPTION_SIZE + config.instruction_size
        self.body = nn.Sequential(
            nn.Linear(size, config.hidden_size), nn.GELU(), nn.Linear(config.hidden_size, config.hidden_size), nn.GELU()
        )

    def forward(self, images: torch.Tensor, tokens: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """(B, cameras, size, size, 3) uint8, (B, prompt_length) int64 and (B, state_size) -> (B, hidden_size)."""
        instruction = self.instruction(tokens)
        pixels = images.permute(0, 1, 4, 2, 3).float() / 255.0 - 0.5
        seen = [encoder(pixels[:, index], instruction) for index, encoder in enumerate(self.images)]
        normalised = ((state - self.state_mean) / self.state_std).clamp(-5.0, 5.0)
        felt = nn.functional.gelu(self.proprioception(normalised))
        features: torch.Tensor = self.body(torch.cat([*seen, felt, instruction], dim=1))
        return features
