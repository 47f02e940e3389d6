"""Which kernel computes scaled dot product attention: the fastest one for each shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from diffusers.models.attention_processor import Attention
from torch.nn.attention import SDPBackend, sdpa_kernel

from deployments.diffusion.device_time import measure_s

KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
"""By the names of the configuration. torch's own formula ("math") is left out: it holds the whole attention matrix."""


class AttentionShape(NamedTuple):
    """What the speed of a kernel depends on, beside dtype and GPU."""

    rows: int
    heads: int
    queries: int
    keys: int
    features: int
    """Of one head."""


class KernelProcessor:
    """An attention processor of diffusers that prefers one kernel; where that one can't run, torch chooses another.

    In a compiled block the choice is part of the graph and costs nothing.
    """

    def __init__(self, processor: Any, kernel: SDPBackend) -> None:
        self.processor = processor
        self.order = [kernel, *(other for other in (*KERNELS.values(), SDPBackend.MATH) if other != kernel)]

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As the processor's own; diffusers looks for the arguments by these names."""
        with sdpa_kernel(self.order, set_priority=True):
            output: torch.Tensor = self.processor(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        return output


def choose_kernels(
    models: Iterable[torch.nn.Module],
    run: Callable[[], object],
    choose: Callable[[AttentionShape, torch.dtype], str | None],
) -> None:
    """Gives each attention layer of `models` the kernel that `choose` names for what `run` makes it compute."""
    for layer, shape in _shapes(models, run).items():
        name = choose(shape, layer.to_out[0].weight.dtype)
        if name is not None:
            layer.set_processor(KernelProcessor(layer.processor, KERNELS[name]))


def fastest_kernel(
    shape: AttentionShape, dtype: torch.dtype, device: torch.device, kernels: Sequence[str]
) -> str | None:
    """Measures each of `kernels`, by their names; None where no one can run this shape."""
    query, key, value = (
        torch.randn(shape.rows, tokens, shape.heads, shape.features, dtype=dtype, device=device).transpose(1, 2)
        for tokens in (shape.queries, shape.keys, shape.keys)  # laid out as diffusers' processors lay them out
    )
    attend = partial(torch.nn.functional.scaled_dot_product_attention, query, key, value)
    seconds = {}
    for name in kernels:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that say why a kernel can't run
            try:
                with sdpa_kernel(KERNELS[name]):
                    seconds[name] = measure_s(attend, device)
            except RuntimeError:  # it can't run this shape on this device, or has no memory for it
                continue
    return min(seconds, key=lambda name: seconds[name]) if seconds else None


def _shapes(models: Iterable[torch.nn.Module], run: Callable[[], object]) -> dict[Attention, AttentionShape]:
    """What `run` makes each attention layer compute."""
    shapes: dict[Attention, AttentionShape] = {}

    def note(layer: Attention, arguments: tuple[torch.Tensor, ...], named: dict[str, Any]) -> None:
        states = arguments[0]
        context = arguments[1] if len(arguments) > 1 else named.get("encoder_hidden_states")
        queries = states.shape[1] if states.ndim == 3 else states.shape[2] * states.shape[3]
        keys = queries if context is None else context.shape[1]
        shapes[layer] = AttentionShape(len(states), layer.heads, queries, keys, layer.inner_dim // layer.heads)

    layers = [layer for model in models for layer in model.modules() if isinstance(layer, Attention)]
    hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return shapes
