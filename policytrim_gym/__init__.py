"""PolicyTrim for Gymnasium: fewer model calls and fewer steps for chunked policies.

Names are loaded when they are first used, so that importing this package costs no more than numpy and gymnasium.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium

from policytrim_gym.version import __version__ as __version__

if TYPE_CHECKING:
    from policytrim_gym.advantages import group_advantages as group_advantages
    from policytrim_gym.chunk import ActionChunk as ActionChunk
    from policytrim_gym.ensembling import TemporalEnsemble as TemporalEnsemble
    from policytrim_gym.evaluation.efficiency_report import EfficiencyReport as EfficiencyReport
    from policytrim_gym.evaluation.evaluate import evaluate_policy as evaluate_policy
    from policytrim_gym.evaluation.sweep import sweep_horizons as sweep_horizons
    from policytrim_gym.metrics import RolloutRecord as RolloutRecord
    from policytrim_gym.policies.loading import load_policy as load_policy
    from policytrim_gym.policy import CallablePolicy as CallablePolicy
    from policytrim_gym.policy import ChunkPolicy as ChunkPolicy
    from policytrim_gym.policy import ChunkSample as ChunkSample
    from policytrim_gym.policy import TrainableChunkPolicy as TrainableChunkPolicy
    from policytrim_gym.queue import ChunkQueue as ChunkQueue
    from policytrim_gym.selectors.learned import LearnedSelector as LearnedSelector
    from policytrim_gym.selectors.learned import save_selector as save_selector
    from policytrim_gym.selectors.loading import load_selector as load_selector
    from policytrim_gym.selectors.selector import FixedSelector as FixedSelector
    from policytrim_gym.selectors.selector import HorizonSelector as HorizonSelector
    from policytrim_gym.spec import PolicySpec as PolicySpec
    from policytrim_gym.training.grpo import TrimGRPO as TrimGRPO
    from policytrim_gym.training.horizon import train_horizon as train_horizon
    from policytrim_gym.training.horizon_config import HorizonTrainingConfig as HorizonTrainingConfig
    from policytrim_gym.wrappers.control_horizon import ControlHorizon as ControlHorizon
    from policytrim_gym.wrappers.execute_chunk import ExecuteChunk as ExecuteChunk
    from policytrim_gym.wrappers.fail_at_time_limit import FailAtTimeLimit as FailAtTimeLimit
    from policytrim_gym.wrappers.record_chunk_statistics import RecordChunkStatistics as RecordChunkStatistics
    from policytrim_gym.wrappers.trim_reward import ApplyTrimReward as ApplyTrimReward
    from policytrim_gym.wrappers.trim_reward import TrimReward as TrimReward
    from policytrim_gym.wrappers.vec_control_horizon import VecControlHorizon as VecControlHorizon

# What type checkers read above, for the interpreter; a test holds the two lists together.
_MODULE_OF = {
    "ActionChunk": "chunk",
    "ApplyTrimReward": "wrappers.trim_reward",
    "CallablePolicy": "policy",
    "ChunkPolicy": "policy",
    "ChunkQueue": "queue",
    "ChunkSample": "policy",
    "ControlHorizon": "wrappers.control_horizon",
    "EfficiencyReport": "evaluation.efficiency_report",
    "ExecuteChunk": "wrappers.execute_chunk",
    "FailAtTimeLimit": "wrappers.fail_at_time_limit",
    "FixedSelector": "selectors.selector",
    "HorizonSelector": "selectors.selector",
    "HorizonTrainingConfig": "training.horizon_config",
    "LearnedSelector": "selectors.learned",
    "PolicySpec": "spec",
    "RecordChunkStatistics": "wrappers.record_chunk_statistics",
    "RolloutRecord": "metrics",
    "TemporalEnsemble": "ensembling",
    "TrainableChunkPolicy": "policy",
    "TrimGRPO": "training.grpo",
    "TrimReward": "wrappers.trim_reward",
    "VecControlHorizon": "wrappers.vec_control_horizon",
    "evaluate_policy": "evaluation.evaluate",
    "group_advantages": "advantages",
    "load_policy": "policies.loading",
    "load_selector": "selectors.loading",
    "save_selector": "selectors.learned",
    "sweep_horizons": "evaluation.sweep",
    "train_horizon": "training.horizon",
}

__all__ = ["__version__", *_MODULE_OF]

if "PolicyTrim/MetaWorld-v0" not in gymnasium.registry:
    gymnasium.register("PolicyTrim/MetaWorld-v0", entry_point="policytrim_gym.envs.metaworld:MetaWorldEnv")
    gymnasium.register("PolicyTrim/Arm-v0", entry_point="policytrim_gym.envs.arm.arm_env:ArmEnv")


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
