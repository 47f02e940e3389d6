"""What compiling one block of the UNet gains, in passes of the most rows: with one graph for all sizes, or one each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.gpu.bench import Bench
from deployments.diffusion.device_time import measure_s

import torch  # isort: skip
from diffusers.models.attention import BasicTransformerBlock  # isort: skip
from diffusers.models.resnet import ResnetBlock2D  # isort: skip
from torch.fx.experimental import _config as shape_config  # isort: skip

shapes: Any = shape_config

CALLS = 4
"""Of one measurement, so that a launch is no part of it."""


def measure_blocks(bench: Bench) -> dict[str, Any]:
    """ms of each block: eager, and compiled in three ways."""
    rows = 2 * bench.scale.batch
    times: dict[str, Any] = {}
    for name, block, inputs in _chosen(bench):
        block.to(memory_format=torch.channels_last)
        run = partial(_time_ms, bench, block)
        times[name] = {"eager": run(block, inputs(rows))}
        for way, first_rows, dynamic in (
            ("dynamic, first met with 2 rows", 2, True),  # as the engine's warm-up does
            (f"dynamic, first met with {rows} rows", rows, True),
            ("static", rows, False),
        ):
            torch._dynamo.reset_code_caches()
            with shapes.patch(use_duck_shape=False):
                compiled: Any = torch.compile(block, dynamic=dynamic, **backend(bench))
                with torch.inference_mode():
                    compiled(**inputs(first_rows))
                times[name][way] = run(compiled, inputs(rows))
    torch._dynamo.reset_code_caches()
    return times


def backend(bench: Bench) -> dict[str, Any]:
    """Whole models, and blocks for the second time, take a compiler for CPUs too long: there torch only traces them."""
    return {"backend": "eager"} if bench.tiny else {}


def _time_ms(bench: Bench, block: Any, module: Callable[..., object], inputs: dict[str, Any]) -> float:
    def call() -> None:
        for _ in range(CALLS):
            module(**inputs)

    with torch.inference_mode():
        return 1000 * measure_s(call, bench.device) / CALLS


def _chosen(bench: Bench) -> list[tuple[str, Any, Callable[[int], dict[str, Any]]]]:
    """One block of each kind and width that leaves the width as it is, with what makes its inputs for some rows."""
    unet = bench.components.unet
    edges = {width: bench.latents[0] >> level for level, width in reversed(list(enumerate(_widths(unet))))}
    found: dict[str, tuple[str, Any, Callable[[int], dict[str, Any]]]] = {}
    for module in unet.down_blocks.modules():
        if isinstance(module, ResnetBlock2D) and module.in_channels == module.out_channels:
            width = module.out_channels
            inputs = partial(_resnet_inputs, bench, width, edges[width], module.time_emb_proj.in_features)
            found.setdefault(f"ResnetBlock2D {width}", (f"ResnetBlock2D {width}", module, inputs))
        if isinstance(module, BasicTransformerBlock):
            name = f"BasicTransformerBlock {module.dim}"
            inputs = partial(_transformer_inputs, bench, module.dim, edges[module.dim] ** 2)
            found.setdefault(name, (name, module, inputs))
    return list(found.values())


def _widths(unet: Any) -> tuple[int, ...]:
    widths: tuple[int, ...] = tuple(unet.config.block_out_channels)
    return widths


def _resnet_inputs(bench: Bench, width: int, edge: int, embedding: int, rows: int) -> dict[str, Any]:
    states = torch.randn(rows, width, edge, edge, device=bench.device, dtype=bench.dtype)
    return {
        "input_tensor": states.to(memory_format=torch.channels_last),
        "temb": torch.randn(rows, embedding, device=bench.device, dtype=bench.dtype),
    }


def _transformer_inputs(bench: Bench, width: int, tokens: int, rows: int) -> dict[str, Any]:
    features = bench.components.unet.config.cross_attention_dim
    return {
        "hidden_states": torch.randn(rows, tokens, width, device=bench.device, dtype=bench.dtype),
        "encoder_hidden_states": torch.randn(rows, 77, features, device=bench.device, dtype=bench.dtype),
    }
