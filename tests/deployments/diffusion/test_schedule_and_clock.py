"""What spares the engine time beside the models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import LMSDiscreteScheduler

from deployments.config import EngineConfig
from deployments.diffusion.components import Components
from deployments.diffusion.device_time import StepClock
from deployments.diffusion.engine import DiffusionEngine

CPU = torch.device("cpu")
Build = Callable[..., DiffusionEngine]


def test_remembered_lms_coefficients_are_diffusers_own(components: Components) -> None:
    own, theirs = (
        components.scheduler("lms"),
        LMSDiscreteScheduler.from_config(components.text_to_image.scheduler.config),
    )
    for steps in (4, 7, 4):
        own.set_timesteps(steps)
        theirs.set_timesteps(steps)
        for step in range(steps):
            for order in range(1, min(step + 1, 4) + 1):
                for current in range(order):
                    assert own.get_lms_coefficient(order, step, current) == pytest.approx(
                        theirs.get_lms_coefficient(order, step, current)
                    )


def test_a_clock_without_a_gpu_times_the_step_itself() -> None:
    clock = StepClock(CPU)
    clock.start()
    timed = clock.stop(cost=12)
    assert timed is not None
    assert timed[0] == 12
    assert 0 <= timed[1] < 60


def test_graphs_without_whole_models_are_refused() -> None:
    with pytest.raises(ValueError, match="cuda_graphs needs compile: full; compile is True"):
        EngineConfig(compile=True, cuda_graphs=True)
