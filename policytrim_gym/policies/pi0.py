"""pi0 in this process: the model of transformers as a policy that RL can train."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidConfig, InvalidSpec
from policytrim_gym.policies.flow_sde import denoising_time, euler_step, sde_moments
from policytrim_gym.policies.gaussian_head import gaussian_log_prob
from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.observation_noise import observation_generator
from policytrim_gym.policies.pi0_inputs import Pi0Encoder, Pi0Inputs
from policytrim_gym.policies.pi0_interface import Pi0Interface
from policytrim_gym.policies.pi0_trainable import choose_trainable, merged_state, trained_state
from policytrim_gym.policies.row_blocks import row_blocks
from policytrim_gym.policies.vector_transforms import normalize_z_score, unnormalize_z_score
from policytrim_gym.policy import ChunkSample, Observation, TrainableChunkPolicy
from policytrim_gym.spec import PolicySpec


class FlowTrace(NamedTuple):
    """The stochastic denoising step of one chunk; the observation that it was taken for is kept by the rollout."""

    noisy: torch.Tensor  # (H, max_action_dim), x before the step
    sampled: torch.Tensor  # (H, action_dim), x after it, of the dimensions that are run
    step: int
    noise: float  # a


class Pi0Policy(TrainableChunkPolicy):
    """Predicts chunks with `PI0ForConditionalGeneration`: images, state and instruction in, K denoising steps, actions out.

    A prediction follows the flow as an ODE from noise that is drawn from the seed of `reset` and the observation, so that it depends
    neither on the order in which environments ask nor on how many do. A sample takes the last step as an SDE (see `flow_sde`), over the
    environment's dimensions only. Log-probs are of normalised actions given the x before that step; in the action's own units all would
    differ by one constant.

    Unlike `StatePolicy`, whose `state_dict` is whole, this one leaves frozen weights out.

    Args:
        model: a PI0ForConditionalGeneration; it is moved to `device`, and its weights are trained in place.
        tokenizer: of transformers.
        state_statistics, action_statistics: mean and standard deviation that the model was trained with; their lengths are the sizes of
            state and action.
        interface: cameras, horizon, and what is trained.
        device: where the model runs; all that comes back is on the CPU.

    Raises:
        InvalidSpec: sizes that the model does not have, or a model that denoises in one step.
        MissingExtra: adapters without peft.

    >>> from policytrim_gym.policies.pi0_small import small_pi0_policy
    >>> policy = small_pi0_policy(state_size=2, action_dim=1, chunk_size=4, texts=["lift the cube"])
    >>> observation = {"image_front": np.zeros((48, 64, 3), np.uint8), "state": [0.1, 0.2], "instruction": "lift the cube"}
    >>> policy.predict_action_chunk(observation).actions.shape
    (4, 1)
    >>> policy.sample_chunks([observation], torch.Generator())[0].log_probs.shape
    (4,)
    """

    model_type = "pi0"
    exploration_start = {"noise": 0.5}
    exploration_end = {"noise": 0.2}

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        state_statistics: NormStatistics,
        action_statistics: NormStatistics,
        interface: Pi0Interface,
        device: str | torch.device = "cpu",
    ) -> None:
        self.model = _aligned(model.to(device).eval())
        self.tokenizer = tokenizer
        self.state_statistics, self.action_statistics = state_statistics, action_statistics
        self._config = model.config
        self._num_steps = int(model.config.num_inference_steps)
        if self._num_steps < 2:
            raise InvalidSpec(f"num_inference_steps must be at least 2, got {self._num_steps}: a single step cannot be the stochastic one")
        action_dim, most = len(action_statistics.mean), self._config.max_action_dim
        if action_dim > most:
            raise InvalidSpec(f"an action must have at most {most} numbers (max_action_dim), got statistics of {action_dim}")
        self._device = torch.device(device)
        self._encoder = Pi0Encoder(model.config, tokenizer, interface, state_statistics, self._device)
        self._interface = interface
        self._spec = PolicySpec(
            chunk_size=self._config.chunk_size,
            action_dim=action_dim,
            execute_horizon=interface.execute_horizon,
            control_dt_s=interface.control_dt_s,
            observation_shapes={
                **{f"image_{camera}": (None, None, 3) for camera in interface.cameras},
                "state": (len(state_statistics.mean),),
            },
            needs_instruction=True,
            action_kinds=interface.action_kinds,
        )
        choose_trainable(self.model, interface)
        self.noise = 0.5
        self._seed = 0

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    @property
    def interface(self) -> Pi0Interface:
        """What `interface.json` holds, with the present horizon."""
        return replace(self._interface, execute_horizon=self._spec.horizon)

    def set_execute_horizon(self, execute_horizon: int) -> None:
        """Makes `execute_horizon` the one that the spec and the checkpoint name."""
        self._spec = self._spec.with_horizon(execute_horizon)

    def reset(self, seed: int | None = None) -> None:
        if seed is not None:
            self._seed = seed

    def set_exploration(self, **values: float) -> None:
        if set(values) != {"noise"}:
            raise InvalidConfig(f"exploration of pi0 is noise (a of Flow-SDE) alone, such as {{noise: 0.5}}, got {sorted(values)}")
        if not (math.isfinite(values["noise"]) and values["noise"] > 0):
            raise InvalidConfig(f"noise must be above 0, got {values['noise']}")
        self.noise = float(values["noise"])

    def predict_action_chunk(self, observation: Observation) -> ActionChunk:
        return self.predict_action_chunks([observation])[0]

    def predict_action_chunks(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        inputs = self.encode(observations)
        keys = [f"image_{camera}" for camera in self._interface.cameras]
        noise = self._draw_noise([observation_generator(observation, keys, self._seed) for observation in observations])
        denoised = euler_step(*self._before_last_step(inputs, noise), self._num_steps)
        return [ActionChunk(chunk) for chunk in self._to_actions(denoised)]

    @torch.no_grad()
    def sample_chunks(
        self, observations: Sequence[Observation], generator: torch.Generator | Sequence[torch.Generator]
    ) -> list[ChunkSample]:
        inputs = self.encode(observations)
        generators = [generator] * len(observations) if isinstance(generator, torch.Generator) else generator
        noise = self._draw_noise(generators)
        fresh = torch.stack([torch.randn(self._spec.chunk_size, self._spec.action_dim, generator=source) for source in generators])
        step = self._num_steps - 1
        noisy, velocity = self._before_last_step(inputs, noise)
        mean, std = self._step_moments(noisy, velocity, [step] * len(noisy), [self.noise] * len(noisy))
        sampled = mean + std * fresh
        log_probs = gaussian_log_prob(sampled, mean, std)
        return [
            ChunkSample(actions, log_prob.numpy(), FlowTrace(before, after, step, self.noise))
            for actions, log_prob, before, after in zip(self._to_actions(sampled), log_probs, noisy, sampled)
        ]

    def evaluate_chunks(self, observations: Sequence[Observation], traces: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        inputs = self.encode(observations)
        noisy = torch.stack([trace.noisy for trace in traces])
        steps = [trace.step for trace in traces]
        times = torch.tensor([denoising_time(step, self._num_steps) for step in steps])
        velocity = self.model(**inputs._asdict(), noise=noisy.to(self._device), timestep=times.to(self._device)).logits.cpu()
        mean, std = self._step_moments(noisy, velocity, steps, [trace.noise for trace in traces])
        return gaussian_log_prob(torch.stack([trace.sampled for trace in traces]), mean, std), None  # the spread is fixed

    def imitation_loss(self, observations: Sequence[Observation], actions: NDArray[np.float32], generator: torch.Generator) -> torch.Tensor:
        """Returns the flow-matching loss |v(t noise + (1 - t) actions, t) - (noise - actions)|^2, with t as the model was trained."""
        inputs = self.encode(observations)
        target = torch.zeros(len(actions), self._spec.chunk_size, self._config.max_action_dim)
        target[..., : self._spec.action_dim] = torch.from_numpy(normalize_z_score(actions, self.action_statistics))
        # torch's Beta distribution draws from the global random state only.
        random = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        beta = random.beta(self._config.time_sampling_beta_alpha, self._config.time_sampling_beta_beta, len(actions))
        times = torch.from_numpy(beta * self._config.time_sampling_scale + self._config.time_sampling_offset).float()
        noise = torch.randn(target.shape, generator=generator)
        on_device = {"actions": target.to(self._device), "noise": noise.to(self._device), "timestep": times.to(self._device)}
        return self.model(**inputs._asdict(), **on_device).loss.mean()

    def encode(self, observations: Sequence[Observation]) -> Pi0Inputs:
        """Returns the model's inputs; raises MissingObservation where an observation does not fit the spec."""
        for observation in observations:
            self._spec.check_observation(observation)
        return self._encoder(observations)

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def state_dict(self) -> dict[str, Any]:
        return trained_state(self.model)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        own = trained_state(self.model)
        if set(state) != set(own):
            odd = sorted(set(state) ^ set(own))
            raise InvalidSpec(f"the weights must be those of trainable={self._interface.trainable!r}, got others: {odd[0]}")
        self.model.load_state_dict(state, strict=False)

    def merged_state(self) -> dict[str, torch.Tensor]:
        """Returns all weights under the library's names, adapters merged into them."""
        return merged_state(self.model)

    def save_pretrained(self, folder: str) -> None:
        from policytrim_gym.policies.pi0_checkpoint import save_pi0

        save_pi0(self, folder)

    def _draw_noise(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        shape = (self._spec.chunk_size, self._config.max_action_dim)
        return torch.stack([torch.randn(shape, generator=generator) for generator in generators])

    @torch.no_grad()
    def _before_last_step(self, inputs: Pi0Inputs, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns x before the last denoising step and the velocity there, (B, H, max_action_dim) each, in blocks of `batch_block` rows."""
        parts = []
        for index in row_blocks(len(noise), self._interface.batch_block):
            parts.append(self._denoise(inputs.rows(index.to(self._device)), noise[index].to(self._device)))
        noisy, velocity = (torch.cat(tensors)[: len(noise)].cpu() for tensors in zip(*parts))
        return noisy, velocity

    def _denoise(self, inputs: Pi0Inputs, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns x before the last step and its velocity, with one pass of the vision-language model for all steps.

        The same computation as the model's `sample_actions`, which does not give its steps away.
        """
        model = self.model.model
        embeddings = model.embed_prefix(inputs.input_ids, inputs.pixel_values, inputs.pixel_attention_mask)
        cache = model.vlm(
            inputs_embeds=embeddings,
            attention_mask=inputs.attention_mask,
            position_ids=inputs.attention_mask.cumsum(-1) - 1,
            token_type_ids=torch.zeros_like(embeddings)[:, :, 0],
            use_cache=True,
        ).past_key_values
        prefix_length = cache.get_seq_length()
        for step in range(self._num_steps):
            time = torch.full((len(x),), denoising_time(step, self._num_steps), device=x.device)
            velocity = self.model(
                state=inputs.state,
                noise=x,
                timestep=time,
                pixel_attention_mask=inputs.pixel_attention_mask,
                attention_mask=inputs.attention_mask,
                past_key_values=cache,
            ).logits
            cache.crop(prefix_length - cache.get_seq_length())  # no step sees another one
            if step < self._num_steps - 1:
                x = euler_step(x, velocity, self._num_steps)
        return x, velocity

    def _step_moments(
        self, noisy: torch.Tensor, velocity: torch.Tensor, steps: Sequence[int], noise: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns mean (B, H, action_dim) and std (B, 1, 1) of the stochastic step, on the dimensions that are run."""
        used = slice(0, self._spec.action_dim)
        times = torch.tensor([denoising_time(step, self._num_steps) for step in steps])[:, None, None]
        return sde_moments(noisy[..., used], velocity[..., used], times, self._num_steps, torch.tensor(noise)[:, None, None])

    def _to_actions(self, denoised: torch.Tensor) -> NDArray[np.float32]:
        """(B, H, action_dim or more), normalised -> (B, H, action_dim) in the units of the action."""
        return unnormalize_z_score(denoised[..., : self._spec.action_dim].numpy(), self.action_statistics).astype(np.float32)


def _aligned(model: Any) -> Any:
    """Moves weights that lie in a mapped file to memory of torch's own: at an odd address the same product may round otherwise."""
    for parameter in model.parameters():
        if parameter.data_ptr() % 64:
            parameter.data = parameter.data.clone()
    return model
