"""The pictures of one job on their way from noise to finished latents, with their own scheduler."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from diffusers import DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, UniPCMultistepScheduler

from deployments.diffusion.prompts import Prompt
from deployments.jobs import Job, PoseControlJob

KEEP_THEIR_ESTIMATES = (DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, UniPCMultistepScheduler)
"""Schedulers that work on estimates of the finished latents and keep the last ones, without returning them."""


class Shape(NamedTuple):
    """What trajectories must have in common to share a forward pass."""

    height: int
    """Of the latents."""
    width: int
    chunks: int
    """Of the prompt."""

    @property
    def pixels(self) -> int:
        return self.height * self.width


@dataclass(frozen=True)
class Conditioning:
    """What the UNet is told beside latents and timestep. One row a UNet row: unconditional rows first."""

    prompt: torch.Tensor
    """(rows, tokens, features), in the UNet's dtype, like all here."""
    pooled: torch.Tensor
    """(rows, features)"""
    time_ids: torch.Tensor
    """(rows, 6): original size, crop, target size"""
    guidance: torch.Tensor | None = None
    """(rows, features): the guidance scale's embedding, for a UNet that was distilled with one"""
    pose: torch.Tensor | None = None
    """(rows, 3, height_px, width_px) in 0 to 1: the ControlNet's input"""


@dataclass(frozen=True)
class Kept:
    """The part of a picture that inpainting leaves as it is."""

    latents: torch.Tensor
    """(pictures, channels, height, width) of the picture to edit"""
    noise: torch.Tensor
    """The noise that the drawn part started from."""
    mask: torch.Tensor
    """(1, 1, height, width): 1 is drawn, 0 is kept"""


class Trajectory:
    """Latents, scheduler and position of one job. It is advanced on the engine's thread only."""

    latents: torch.Tensor
    """(pictures, channels, height, width) float32. Set by `begin`, as are the others."""
    conditioning: Conditioning
    generators: list[torch.Generator]

    def __init__(
        self,
        job: Job,
        prompt: Prompt,
        negative: Prompt | None,
        scheduler: Any,
        timesteps: torch.Tensor,
        shape: Shape,
        guided: bool,
    ) -> None:
        """`timesteps` stay on the CPU: there the schedulers' arithmetic on them never waits for the device."""
        self.job = job
        self.prompt = prompt
        self.negative = negative
        self.scheduler = scheduler
        self.shape = shape
        self.guided = guided
        self.timesteps = timesteps
        self.step_index = 0
        self.begun = False
        self._estimate: torch.Tensor | None = None
        self._kept: Kept | None = None

    @property
    def steps(self) -> int:
        return len(self.timesteps)

    @property
    def rows(self) -> int:
        """UNet rows of one step."""
        return len(self.job.seeds) * (2 if self.guided else 1)

    @property
    def cost(self) -> int:
        """Rows x latent pixels of one step."""
        return self.rows * self.shape.pixels

    @property
    def finished(self) -> bool:
        return self.step_index == self.steps

    @property
    def estimate(self) -> torch.Tensor:
        """What the pictures will be, seen from here: the scheduler's own estimate where it gives one."""
        return self.latents if self._estimate is None else self._estimate

    def begin(
        self,
        latents: torch.Tensor,
        conditioning: Conditioning,
        generators: list[torch.Generator],
        kept: Kept | None = None,
    ) -> None:
        """Gives the trajectory its start."""
        self.latents, self.conditioning, self.generators, self._kept = latents, conditioning, generators, kept
        self._arguments = (
            {"generator": generators} if "generator" in inspect.signature(self.scheduler.step).parameters else {}
        )
        self.begun = True

    def model_input(self) -> torch.Tensor:
        """(rows, channels, height, width): the latents as the UNet wants them at this step."""
        scaled = self.scheduler.scale_model_input(self.latents, self.timesteps[self.step_index])
        return torch.cat([scaled, scaled]) if self.guided else scaled

    def control_scale(self) -> float:
        """How much the ControlNet adds at this step; 0 outside of the job's control window."""
        if not isinstance(self.job, PoseControlJob):
            return 0.0
        begin, end = self.step_index / self.steps, (self.step_index + 1) / self.steps
        inside = begin >= self.job.control_start and end <= self.job.control_end
        return self.job.controlnet_scale if inside else 0.0

    def advance(self, prediction: torch.Tensor) -> None:
        """One scheduler step.

        Args:
            prediction: (rows, channels, height, width) float32, the UNet's output for `model_input`.
        """
        if self.guided:
            unconditional, conditional = prediction.chunk(2)
            prediction = unconditional + self.job.guidance_scale * (conditional - unconditional)
        output = self.scheduler.step(
            prediction, self.timesteps[self.step_index], self.latents, **self._arguments, return_dict=True
        )
        self.latents = output.prev_sample
        self._estimate = getattr(output, "pred_original_sample", None)
        if self._estimate is None and isinstance(self.scheduler, KEEP_THEIR_ESTIMATES):
            self._estimate = self.scheduler.model_outputs[-1]
        self.step_index += 1
        if self._kept is not None:
            self.latents = (1 - self._kept.mask) * self._kept_latents(self._kept) + self._kept.mask * self.latents

    def _kept_latents(self, kept: Kept) -> torch.Tensor:
        """The kept part, as noisy as the drawn part is now."""
        if self.finished:
            return kept.latents
        timestep = self.timesteps[self.step_index : self.step_index + 1]
        return noised(self.scheduler, kept.latents, kept.noise, timestep)


def noised(scheduler: Any, clean: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """`scheduler.add_noise` for one timestep, (1,) on the CPU.

    add_noise is linear, but on a device its table look-ups wait for the kernels before them. So it runs on two numbers
    on the CPU and gives the factors of the picture and of the noise.
    """
    picture, dots = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    factors = scheduler.add_noise(picture, dots, timestep)
    return float(factors[0, 0]) * clean + float(factors[0, 1]) * noise
