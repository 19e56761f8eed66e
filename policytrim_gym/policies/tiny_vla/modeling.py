"""The network as a model of transformers."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from policytrim_gym.policies.tiny_vla.configuration import TinyVLAConfig
from policytrim_gym.policies.tiny_vla.encoder import ObservationEncoder
from policytrim_gym.policies.tiny_vla.heads import CHUNK_HEADS


class TinyVLAModel(PreTrainedModel):
    """Encoder and head; `from_pretrained` and `save_pretrained` are the library's.

    Its numbers are normalised increments; `TinyVLAPolicy` makes actions of them.
    """

    config_class = TinyVLAConfig
    base_model_prefix = "tiny_vla"
    main_input_name = "images"
    config: TinyVLAConfig
    action_scale: torch.Tensor

    def __init__(self, config: TinyVLAConfig) -> None:
        super().__init__(config)
        config.check()
        self.encoder = ObservationEncoder(config)
        self.head = CHUNK_HEADS[config.head](config)
        self.register_buffer("action_scale", torch.ones(config.action_dim))
        self.post_init()

    def forward(self, images: torch.Tensor, tokens: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """(B, cameras, size, size, 3) uint8, (B, prompt_length) int64 and (B, state_size) -> features (B, hidden_size)."""
        features: torch.Tensor = self.encoder(images, tokens, state)
        return features

    def _init_weights(self, module: nn.Module) -> None:
        """Keeps torch's own initial weights, which fit layers of this width; the library's are made for thousands."""

    def choose_trainable(self) -> None:
        """Lets those weights require a gradient that `config.trainable` names."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.config.trainable == "all" or not name.startswith("encoder.images."))
