"""The schedulers a request can name: each a diffusers class with arguments. Imports neither torch nor diffusers.

Names as Stable Diffusion's user interfaces have them; the mapping to classes and arguments follows the table in
diffusers' documentation (docs/source/en/api/schedulers/overview.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class SchedulerSpec(NamedTuple):
    """A diffusers scheduler class and what differs from the checkpoint's own scheduler configuration."""

    class_name: str
    arguments: Mapping[str, Any] = MappingProxyType({})


SCHEDULERS: dict[str, SchedulerSpec] = {
    "euler": SchedulerSpec("EulerDiscreteScheduler"),
    "euler_karras": SchedulerSpec("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler_a": SchedulerSpec("EulerAncestralDiscreteScheduler"),
    "heun": SchedulerSpec("HeunDiscreteScheduler"),
    "lms": SchedulerSpec("LMSDiscreteScheduler"),
    "ddim": SchedulerSpec("DDIMScheduler"),
    "ddpm": SchedulerSpec("DDPMScheduler"),
    "pndm": SchedulerSpec("PNDMScheduler", {"skip_prk_steps": True}),  # without, it needs four steps at least
    "dpm2": SchedulerSpec("KDPM2DiscreteScheduler"),
    "dpm2_a": SchedulerSpec("KDPM2AncestralDiscreteScheduler"),
    "dpmpp_2m": SchedulerSpec("DPMSolverMultistepScheduler"),
    "dpmpp_2m_karras": SchedulerSpec("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpmpp_2m_sde": SchedulerSpec("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2m_sde_karras": SchedulerSpec(
        "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}
    ),
    "dpmpp_2s": SchedulerSpec("DPMSolverSinglestepScheduler", {"lower_order_final": True}),  # else it does so itself
    "unipc": SchedulerSpec("UniPCMultistepScheduler"),
    "deis": SchedulerSpec("DEISMultistepScheduler"),
    "lcm": SchedulerSpec("LCMScheduler"),
}
