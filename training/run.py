"""What the training scripts share: a folder with checkpoints, a device, a learning rate, an average of the weights."""

from argparse import ArgumentParser
from copy import deepcopy
from math import cos, pi
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "deployments" / "demo"
RUNS = ROOT / "runs" / "training"


def arguments(description: str, steps: int, batch: int) -> ArgumentParser:
    """The options that every training script has."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="length of the whole training (default %(default)s)")
    parser.add_argument("--batch", type=int, default=batch, help="pictures a step (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--restart", action="store_true", help="ignore the checkpoint of an earlier run")
    return parser


def rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """A learning rate that rises for `warmup` steps and falls along a cosine to a fiftieth of its peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + cos(pi * min(1.0, share))))


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Sets one learning rate for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = value


class Average:
    """An exponential moving average of a module's weights."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module: Any = deepcopy(module).requires_grad_(False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Moves the average towards `module`; the first steps move it more."""
        decay = min(self._decay, (1 + step) / (10 + step))
        mine: list[Tensor] = list(self.module.parameters())
        theirs = [p.detach() for p in module.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)


class Checkpoint:
    """The state of one training run in `runs/training/<name>.pt`, written whole or not at all."""

    def __init__(self, name: str) -> None:
        self.path = RUNS / f"{name}.pt"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def load(self, device: str) -> dict[str, Any] | None:
        """The last state, or None where no run has begun."""
        if not self.path.exists():
            return None
        state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
        return state

    def save(self, **state: Any) -> None:
        """Replaces the last state."""
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)


def as_pixels(pictures: Tensor) -> Tensor:
    """(b, h, w, 3) uint8 → (b, 3, h, w) float32 in [-1, 1], channels last in memory."""
    return (pictures.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
