"""Linear layers in 8 bits (`engine.quantize: fp8`), by torchao."""

from __future__ import annotations

from collections.abc import Iterable

import torch

KEPT = ("time_embedding", "add_embedding", "time_emb_proj")
"""Layers that stay in 16 bits, as NVIDIA's MLPerf submissions leave them (inference_results_v5.1, closed/NVIDIA,
stable-diffusion-xl): they read the timestep, and what they cost is next to nothing."""

FIRST_CAPABILITY = (8, 9)
"""Ada Lovelace, the first GPUs that multiply in 8-bit floating point."""


def quantize_linears(models: Iterable[torch.nn.Module], device: torch.device) -> None:
    """Changes the linear layers in place: weights once, activations at each call, both scaled by row.

    Rows share no scale, so a picture does not depend on what else is in its pass.

    Raises:
        ValueError: the GPU has no 8-bit multiplication.
        ImportError: torchao is not installed.
    """
    found = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if found is None or found < FIRST_CAPABILITY:
        what = f"{torch.cuda.get_device_name(device)} has {found[0]}.{found[1]}" if found else f"the device is {device}"
        raise ValueError(f"engine.quantize is fp8, which needs a GPU of compute capability 8.9 or newer; {what}")
    try:
        from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_
    except ImportError as error:
        raise ImportError(f"engine.quantize is fp8, which needs the package torchao ({error})") from error
    for model in models:
        quantize_(model, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()), is_quantized)


def is_quantized(layer: torch.nn.Module, name: str) -> bool:
    """Whether the layer of this name in its model is computed in 8 bits."""
    return isinstance(layer, torch.nn.Linear) and not any(kept in name for kept in KEPT)
