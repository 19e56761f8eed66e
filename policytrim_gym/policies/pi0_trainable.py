"""Which of pi0's weights are trained: all, the action expert's, or low-rank adapters beside them (LoRA)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from policytrim_gym.errors import MissingExtra
from policytrim_gym.policies.pi0_interface import Pi0Interface

EXPERT = ("model.dit.", "embed_action_time.", "action_out_proj.")
ADAPTED = r".*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
_ADAPTER, _BASE = "lora_", ".base_layer."


def choose_trainable(model: nn.Module, interface: Pi0Interface, seed: int = 0) -> None:
    """Lets exactly those weights require a gradient that `interface.trainable` names; adapters are put in, and change nothing at first.

    Args:
        model: a PI0ForConditionalGeneration, changed in place.
        interface: with `trainable`, `lora_rank` and `lora_alpha`.
        seed: of the adapters' initial weights.

    Raises:
        MissingExtra: adapters without peft.
    """
    if interface.trainable == "lora":
        _add_adapters(model, interface, seed)
        return
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(interface.trainable == "all" or name.startswith(EXPERT))


def trained_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Returns weights and buffers without the frozen ones, of which a training would only keep equal copies."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def merged_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Returns all weights of the model as it would be without adapters, with what these add inside: names and shapes are the library's."""
    deltas = {
        f"{name}.weight": module.get_delta_weight("default")
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    merged = {}
    for name, value in model.state_dict().items():
        if _ADAPTER not in name:
            plain = name.replace(_BASE, ".")
            merged[plain] = (value + deltas[plain].to(value.dtype) if plain in deltas else value).detach()
    return merged


def _add_adapters(model: nn.Module, interface: Pi0Interface, seed: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtra(f'trainable: lora needs {error.name}: pip install "policytrim[vla]"') from error
    settings: dict[str, Any] = {"r": interface.lora_rank, "lora_alpha": interface.lora_alpha, "target_modules": ADAPTED}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(**settings), model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_ADAPTER in name)
