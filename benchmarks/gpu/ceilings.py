"""Stage 2: what the device can do at most, in the shapes of SDXL's largest passes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.parts import Part, SkippedPart
from deployments.diffusion.acceleration.attention import KERNELS
from deployments.diffusion.device_time import measure_s

import torch  # isort: skip
from torch.nn.attention import sdpa_kernel  # isort: skip

SUSTAINED_S = 2.0
"""A GPU that has just begun to work is cooler, and faster, than one that serves."""

# (name, rows of the input, its features, features of the output) of 16 UNet rows at 1024 x 1024
LINEARS = [
    (f"{width} {name}", 16 * tokens, width * before, width * after)
    for width, tokens in ((640, 4096), (1280, 1024))
    for name, before, after in (
        ("qkv", 1, 3),
        ("out", 1, 1),
        ("proj_in", 1, 1),
        ("ff in", 1, 8),
        ("ff out", 4, 1),
    )
] + [("640 text kv", 16 * 77, 2048, 2 * 640), ("1280 text kv", 16 * 77, 2048, 2 * 1280)]

ATTENTIONS = {  # rows, heads, queries, keys, features of a head
    "self 640": (8, 10, 4096, 4096, 64),
    "self 1280": (8, 20, 1024, 1024, 64),
    "text 640": (8, 10, 4096, 77, 64),
    "text 1280": (8, 20, 1024, 77, 64),
}


def matrix_rate(bench: Bench) -> dict[str, Any]:
    """FLOP/s of large matrix products, one after the other for seconds."""
    size, seconds = (8192, SUSTAINED_S) if bench.on_gpu else (256, 0.2)
    one, other = (torch.randn(size, size, device=bench.device, dtype=bench.dtype) for _ in range(2))
    rates = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        rates.append(2 * size**3 / measure_s(partial(torch.mm, one, other), bench.device) / 1e12)
    half = rates[len(rates) // 2 :]
    return {"TFLOP/s": statistics.median(half), "first TFLOP/s": rates[0], "least TFLOP/s": min(rates)}


def copy(bench: Bench) -> dict[str, Any]:
    """Bytes read and written by a copy within the device's memory."""
    source = torch.randn(2**31 // 4 if bench.on_gpu else 2**20, device=bench.device)
    target = torch.empty_like(source)
    seconds = measure_s(partial(target.copy_, source), bench.device)
    return {"GB/s": 2 * source.numel() * 4 / seconds / 1e9}


def linears(bench: Bench) -> dict[str, Any]:
    """TFLOP/s of SDXL's linear layers in 16 bits, and in 8 bits scaled by row."""
    rates: dict[str, Any] = {}
    for name, rows, before, after in LINEARS if bench.on_gpu else LINEARS[:1]:
        rows = rows if bench.on_gpu else 16
        states = torch.randn(rows, before, device=bench.device, dtype=bench.dtype)
        weight = torch.randn(after, before, device=bench.device, dtype=bench.dtype)
        flop = 2 * rows * before * after
        wide = partial(torch.nn.functional.linear, states, weight)
        rates[name] = {"16 bit": flop / measure_s(wide, bench.device) / 1e12, "8 bit": None}
        if bench.on_gpu and torch.cuda.get_device_capability() >= (8, 9):
            rates[name]["8 bit"] = flop / measure_s(_narrow(states, weight, bench.dtype), bench.device) / 1e12
    return {"TFLOP/s": rates}


def _narrow(states: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """The product alone, without the conversion of its input."""
    narrow, scales = zip(*(_by_row(each) for each in (states, weight)), strict=True)
    return partial(
        torch._scaled_mm,
        narrow[0],
        narrow[1].t(),
        scale_a=scales[0],
        scale_b=scales[1].t(),
        out_dtype=dtype,
        use_fast_accum=True,
    )


def _by_row(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = matrix.abs().amax(1, keepdim=True).float() / torch.finfo(torch.float8_e4m3fn).max
    return (matrix / scale).to(torch.float8_e4m3fn), scale.contiguous()


def attention(bench: Bench) -> dict[str, Any]:
    """ms of each kernel for each shape; None where it can't run it."""
    if not bench.on_gpu:
        raise SkippedPart("these kernels are a GPU's")
    times: dict[str, Any] = {}
    for name, (rows, heads, queries, keys, features) in ATTENTIONS.items():
        query, key, value = (
            torch.randn(rows, tokens, heads, features, device=bench.device, dtype=bench.dtype).transpose(1, 2)
            for tokens in (queries, keys, keys)
        )
        attend = partial(torch.nn.functional.scaled_dot_product_attention, query, key, value)
        times[name] = {"torch's choice": 1000 * measure_s(attend, bench.device)}
        for kernel, backend in KERNELS.items():
            try:
                with sdpa_kernel(backend):
                    times[name][kernel] = 1000 * measure_s(attend, bench.device)
            except RuntimeError:
                times[name][kernel] = None
    return {"ms": times}


PARTS = (Part(matrix_rate, 5), Part(copy, 2), Part(linears, 5), Part(attention, 5))
