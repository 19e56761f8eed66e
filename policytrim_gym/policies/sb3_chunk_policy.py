"""A `StatePolicy` as Stable-Baselines3's actor-critic, so that its PPO or A2C trains the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from policytrim_gym.chunk import check_horizon
from policytrim_gym.errors import InvalidConfig, InvalidSpec
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.state_policy import INSTRUCTION_LENGTH, StatePolicy


def instruction_encoder(policy: StatePolicy) -> Callable[[str], list[int]]:
    """Returns the function for `EncodeInstruction` that gives a policy's own token ids, (INSTRUCTION_LENGTH,); it can be pickled."""
    return partial(policy.tokenizer.encode, length=INSTRUCTION_LENGTH)


class PrefixGaussian(DiagGaussianDistribution):
    """A Gaussian chunk of which only the first actions count.

        log p(c | o) = sum_{i < h} sum_j log N(c_ij; m_ij(o), action_std^2)

    Actions behind the execute horizon h never run, so they have no part in the likelihood, in the ratio of PPO or in the entropy.

    Args:
        chunk_size: H.
        action_dim: A.
        execute_horizon: h.

    >>> distribution = PrefixGaussian(chunk_size=4, action_dim=1, execute_horizon=1)
    >>> _ = distribution.proba_distribution(torch.zeros(1, 4), torch.zeros(4))
    >>> round(distribution.log_prob(torch.tensor([[0.0, 9.0, 9.0, 9.0]])).item(), 3)
    -0.919
    """

    def __init__(self, chunk_size: int, action_dim: int, execute_horizon: int) -> None:
        super().__init__(chunk_size * action_dim)
        self._prefix = check_horizon(execute_horizon, chunk_size) * action_dim

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        """Returns the log-density of the prefixes: chunks row by row (B, H * A) -> (B,)."""
        return self.distribution.log_prob(actions)[:, : self._prefix].sum(dim=1)

    def entropy(self) -> torch.Tensor:
        """Returns the entropy of the prefixes, (B,); constant, since the spread is."""
        return self.distribution.entropy()[:, : self._prefix].sum(dim=1)


class StateAndTokens(BaseFeaturesExtractor):
    """Puts state and token ids in one row, (B, state_size + num_tokens), as the networks below split them.

    Args:
        observation_space: Dict with `state` and `instruction`.

    >>> space = spaces.Dict({"state": spaces.Box(-1, 1, (3,)), "instruction": spaces.Box(0, 9, (2,), "int32")})
    >>> StateAndTokens(space).features_dim
    5
    """

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, sum(math.prod(observation_space[key].shape or ()) for key in ("state", "instruction")))

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([observations["state"], observations["instruction"]], dim=1)


class _ActorAndCritic(nn.Module):
    """What Stable-Baselines3 calls the MLP extractor; here both networks are whole, heads included."""

    def __init__(self, actor: nn.Module, critic: nn.Module, state_size: int) -> None:
        super().__init__()
        self.actor = actor
        self.critic = critic
        self._state_size = state_size

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """(B, state_size + num_tokens) -> mean chunk, row by row (B, H * A)."""
        return self.actor(*self._split(features)).flatten(start_dim=1)

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        """(B, state_size + num_tokens) -> value (B, 1)."""
        return self.critic(*self._split(features)).flatten(start_dim=1)

    def _split(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return features[:, : self._state_size], features[:, self._state_size :].long()


class ChunkActorCriticPolicy(ActorCriticPolicy):
    """The actor is a `StatePolicy` at a fixed execute horizon; the critic is a small network of the same inputs.

    The environment is `ApplyTrimReward(ExecuteChunk(EncodeInstruction(env, instruction_encoder(policy)), H, h), reward)` with the same h,
    within `FailAtTimeLimit`: one step is one chunk. `predict(deterministic=True)` is the policy's own chunk, cut to the action space as
    Stable-Baselines3 does. The likelihood is that of the first h actions (`PrefixGaussian`): exact where they all run; where success
    cuts a chunk short, the rest of the h adds noise to the gradient but no bias. Unlike `TrimGRPO`, PPO clips the ratio of the whole
    prefix (h * A numbers), so it needs a smaller learning rate the longer the horizon. The spread is fixed; `ent_coef` changes nothing.

    Args:
        observation_space: Dict with `state` (state_size,) and `instruction` (INSTRUCTION_LENGTH,).
        action_space: Box (H, A).
        lr_schedule: of the optimiser.
        policy: where the training starts: a StatePolicy, or the URI of one. It is copied and stays as it is. An archive of
            Stable-Baselines3 carries a StatePolicy with it, but of a URI only the name: the checkpoint must be there when it is loaded.
        execute_horizon: h, the environment's; None is the policy's own [steps].
        action_std: spread of each action [action units].
        critic_size: width of the critic's two hidden layers.
        critic_lr_factor: the critic's learning rate is so many times the actor's. The actor was trained before and takes small steps only,
            the critic knows nothing yet: at one rate it explained 9 % of the returns' variance after 80,000 steps of six Meta-World
            tasks, at ten times the rate 35 %.
        optimizer_class, optimizer_kwargs: of actor and critic together.
        use_sde: only False: Stable-Baselines3 passes it.

    Raises:
        InvalidSpec: a policy that is no StatePolicy or whose network predicts increments, or spaces that do not fit it.
        InvalidHorizon, InvalidConfig: an argument out of range.

    >>> from policytrim_gym.policies.state_policy import StatePolicyConfig
    >>> from policytrim_gym.policies.word_tokenizer import WordTokenizer
    >>> base = StatePolicy(StatePolicyConfig(3, 1, chunk_size=4, execute_horizon=2, hidden_size=8), WordTokenizer(["swing", "up"]))
    >>> observed = {"state": spaces.Box(-8, 8, (3,)), "instruction": spaces.Box(0, 9, (INSTRUCTION_LENGTH,), "int32")}
    >>> policy = ChunkActorCriticPolicy(spaces.Dict(observed), spaces.Box(-2, 2, (4, 1)), lambda _: 3e-5, base)
    >>> policy.to_chunk_policy().spec == base.spec
    True
    >>> # PPO(ChunkActorCriticPolicy, env, gamma=1.0, policy_kwargs={"policy": "runs/base", "execute_horizon": 32})
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        policy: StatePolicy | str,
        execute_horizon: int | None = None,
        action_std: float = 0.1,
        critic_size: int = 128,
        critic_lr_factor: float = 10.0,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        use_sde: bool = False,
    ) -> None:
        start = load_policy(policy) if isinstance(policy, str) else policy
        if not isinstance(start, StatePolicy):
            raise InvalidSpec(f"policy must be a StatePolicy or the URI of one, got {type(start).__name__}")
        if not start.increments.is_identity:
            raise InvalidSpec(
                "this actor-critic spreads around actions, so the policy must have neither action_origins nor an action_scale, got "
                f"{start.config.origins} and {start.increments.scale.tolist()}; train its weights with TrimGRPO (policytrim trim)"
            )
        _check_spaces(start, observation_space, action_space)
        if not action_std > 0:
            raise InvalidConfig(f"action_std must be above 0, got {action_std}")
        if not critic_lr_factor > 0:
            raise InvalidConfig(f"critic_lr_factor must be above 0, got {critic_lr_factor}")
        if use_sde:
            raise InvalidConfig("use_sde must be False: the spread of a chunk does not depend on the state")
        if isinstance(critic_size, bool) or not isinstance(critic_size, int) or critic_size < 1:
            raise InvalidConfig(f"critic_size must be an integer of at least 1, got {critic_size!r}")
        self._policy_argument = policy
        self._start = start
        self._critic_size = critic_size
        self._critic_lr_factor = float(critic_lr_factor)
        self.execute_horizon = check_horizon(start.spec.horizon if execute_horizon is None else execute_horizon, start.spec.chunk_size)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            ortho_init=False,
            log_std_init=math.log(action_std),
            features_extractor_class=StateAndTokens,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    @property
    def action_std(self) -> float:
        """Spread of each action [action units]."""
        return math.exp(self.log_std_init)

    def to_chunk_policy(self) -> StatePolicy:
        """Returns a StatePolicy with the present weights, which names the execute horizon; further training does not change it."""
        trained = StatePolicy(self._start.config, self._start.tokenizer)
        weights = cast(_ActorAndCritic, self.mlp_extractor).actor.state_dict()
        trained.load_state_dict({name: value.detach().cpu().clone() for name, value in weights.items()})
        trained.set_execute_horizon(self.execute_horizon)
        return trained

    def _build(self, lr_schedule: Schedule) -> None:
        config, network = self._start.config, self._start.network
        self.action_dist = PrefixGaussian(config.chunk_size, config.action_dim, self.execute_horizon)
        # The value of an observation is a chunk of one number from a smaller network of the same kind.
        critic = StatePolicy(
            replace(config, chunk_size=1, action_dim=1, execute_horizon=1, action_kinds=None, hidden_size=self._critic_size, num_layers=2),
            self._start.tokenizer,
            seed=int(torch.randint(2**31, ())),  # Stable-Baselines3 seeds torch before it makes a policy
        )
        critic.set_normalisation(network.state_mean.cpu().numpy(), network.state_std.cpu().numpy())
        networks = _ActorAndCritic(copy.deepcopy(network), critic.network, config.state_size)
        self.mlp_extractor = networks  # type: ignore[assignment]
        self.action_net = nn.Identity()
        self.value_net = nn.Identity()  # type: ignore[assignment]
        self.log_std = nn.Parameter(torch.full((config.chunk_size * config.action_dim,), self.log_std_init), requires_grad=False)
        groups = [{"params": networks.actor.parameters()}, {"params": networks.critic.parameters()}]
        self.optimizer = self.optimizer_class(groups, lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]
        # Before each update Stable-Baselines3 gives every group the learning rate of its schedule.
        self.optimizer.register_step_pre_hook(partial(_scale_critic_rate, factor=self._critic_lr_factor))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,  # Stable-Baselines3's: a policy that is loaded alone does not train
            "policy": self._policy_argument,
            "execute_horizon": self.execute_horizon,
            "action_std": self.action_std,
            "critic_size": self._critic_size,
            "critic_lr_factor": self._critic_lr_factor,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }


def _scale_critic_rate(optimizer: torch.optim.Optimizer, *_: Any, factor: float) -> None:
    actor, critic = optimizer.param_groups
    critic["lr"] = factor * actor["lr"]


def _check_spaces(policy: StatePolicy, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
    """Raises InvalidSpec, naming the space, unless the policy can see and act in it."""
    wanted = {"state": (policy.config.state_size,), "instruction": (INSTRUCTION_LENGTH,)}
    for key, shape in wanted.items():
        got = observation_space[key].shape if isinstance(observation_space, spaces.Dict) and key in observation_space.spaces else None
        if got != shape:
            raise InvalidSpec(f'observation["{key}"] must have shape {shape} (see EncodeInstruction), got {observation_space}')
    chunk_shape = (policy.spec.chunk_size, policy.spec.action_dim)
    if not isinstance(action_space, spaces.Box) or action_space.shape != chunk_shape:
        raise InvalidSpec(f"an action must be a chunk of shape {chunk_shape} (see ExecuteChunk), got {action_space}")
