"""diffusers' LMS scheduler without its integrals, which take 7 ms of CPU a step: each is computed once."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import torch
from diffusers import LMSDiscreteScheduler


class RememberingLMSScheduler(LMSDiscreteScheduler):
    """All schedulers of this class share what they remember."""

    def get_lms_coefficient(self, order: int, t: int, current_order: int) -> float:
        """As diffusers computes it, for the sigmas of this schedule."""
        return _coefficient(tuple(self.sigmas.tolist()), order, t, current_order)


@lru_cache(maxsize=2**14)  # a schedule of 50 steps has 194
def _coefficient(sigmas: tuple[float, ...], order: int, t: int, current_order: int) -> float:
    schedule = SimpleNamespace(sigmas=torch.tensor(sigmas))
    return float(LMSDiscreteScheduler.get_lms_coefficient(schedule, order, t, current_order))
