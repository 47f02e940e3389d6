"""Stage 1: whether everything loads, and what the machine is."""

from __future__ import annotations

import importlib
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.parts import Part

import torch  # isort: skip

MODULES = ("serve_app.app", "serve_app.launch", "ray.serve", "httpx", "torch._inductor")
PACKAGES = (
    "torch",
    "triton",
    "diffusers",
    "transformers",
    "accelerate",
    "ray",
    "fastapi",
    "pydantic",
    "numpy",
    "torchao",
)


def imports(bench: Bench) -> dict[str, Any]:
    """Seconds from the process's start to its first part, and of each module after the ones before it."""
    seconds = {"process s": time.time() - psutil.Process().create_time()}
    for module in MODULES:
        started_s = time.monotonic()
        importlib.import_module(module)
        seconds[f"{module} s"] = time.monotonic() - started_s
    return seconds


def versions(bench: Bench) -> dict[str, Any]:
    found: dict[str, Any] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def machine(bench: Bench) -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {"cpu": cpu[0].split(": ")[1] if cpu else None, "cores": os.cpu_count(), "memory GB": memory / 1e9}


def card(bench: Bench) -> dict[str, Any]:
    """The GPU and torch's libraries for it."""
    if not bench.on_gpu:
        return {"name": None}
    cudnn: Any = torch.backends.cudnn
    about = torch.cuda.get_device_properties(bench.device)
    free, total = torch.cuda.mem_get_info()
    return {
        "name": about.name,
        "capability": list(torch.cuda.get_device_capability()),
        "memory GB": total / 1e9,
        "free memory GB": free / 1e9,
        "multiprocessors": about.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version(),
    }


def attention_order(bench: Bench) -> dict[str, Any]:
    """torch's own order of kernels for scaled dot product attention, after a first call has set it."""
    query = torch.randn(2, 10, 256, 64, device=bench.device, dtype=bench.dtype)
    torch.nn.functional.scaled_dot_product_attention(query, query, query)
    order: Any = getattr(torch._C, "_get_sdp_priority_order", list)
    enabled = {
        name: getattr(torch.backends.cuda, f"{name}_enabled")()
        for name in ("flash_sdp", "mem_efficient_sdp", "cudnn_sdp", "math_sdp")
    }
    return {
        "order": [int(each) for each in order()],
        "order's numbers": "0 math, 1 flash, 2 efficient, 3 cudnn",
        **enabled,
    }


PARTS = (Part(imports, 5), Part(versions, 1), Part(machine, 1), Part(card, 1), Part(attention_order, 1))
