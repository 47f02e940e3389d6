"""What the training scripts share: options, the loop, a checkpoint, an average of the weights."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from copy import deepcopy
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from tqdm import trange

from training.workers import average_gradients, rank

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "deployments" / "demo"
RUNS = ROOT / "runs" / "training"
_SAVED_EVERY = 200

Loss = Callable[[int, np.random.Generator], tuple[Tensor, dict[str, float]]]
"""Step and random generator → the loss, and figures to show beside it."""


def arguments(description: str, steps: int, batch: int) -> ArgumentParser:
    """The options that every training script has."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="length of the whole training (default %(default)s)")
    parser.add_argument("--batch", type=int, default=batch, help="pictures a step and worker (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--restart", action="store_true", help="ignore the checkpoint of an earlier run")
    return parser


def train(name: str, model: nn.Module, loss_of: Loss, options: Namespace, peak: float, decay: float = 0.997) -> Any:
    """Trains a model, or goes on where an earlier run stopped.

    Args:
        name: The checkpoint's name.
        model: Parameters that need no gradient stay as they are.
        loss_of: The loss of one step; workers get generators of their own.
        options: What `arguments` parsed.
        peak: The highest learning rate.
        decay: How much of the average each step keeps.

    Returns:
        The model with the average of its weights over the last steps.
    """
    checkpoint, average = Checkpoint(name), Average(model, decay)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=1e-3)
    first = 0
    if not options.restart and (state := checkpoint.load(options.device)):
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    progress = trange(
        first, options.steps, initial=first, total=options.steps, desc=name, mininterval=10, disable=rank() > 0
    )
    for step in progress:
        optimizer.param_groups[0]["lr"] = rate(step, options.steps, peak)
        loss, figures = loss_of(step, np.random.default_rng((options.seed, step, rank())))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        average_gradients(parameters)
        clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(model, step)
        if step % 10 == 0:
            progress.set_postfix({what: f"{value:.4f}" for what, value in figures.items()})
        if rank() == 0 and ((step + 1) % _SAVED_EVERY == 0 or step + 1 == options.steps):
            state = {"model": model.state_dict(), "average": average.module.state_dict()}
            checkpoint.save(**state, optimizer=optimizer.state_dict(), step=step + 1)
    return average.module


def rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """A learning rate that rises for `warmup` steps and falls along a cosine to a fiftieth of its peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + cos(pi * min(1.0, share))))


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
