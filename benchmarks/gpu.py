"""SDXL at its true size with random weights on a GPU: the engine, diffusers, and the bound of the arithmetic.

python -m benchmarks.gpu [--dtype bfloat16] [--no-compile] [--cases 0 2] [--cache-dir FOLDER] [--tiny]

For each case: seconds a picture of diffusers' pipeline and of the engine, eager and compiled, PNG encoding included,
and the least time that the multiplications alone take at the matrix rate that this GPU reaches in a plain product,
measured in the same run. Compiling takes most of the time: a few cases need fewer shapes, and a cache folder keeps
what was compiled. The table is written anew after each mode. `--tiny` runs a tiny model on the CPU, and its compiled
graphs without kernels, to see that the script works.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.report import report
from benchmarks.sdxl import build_sdxl, build_tiny
from deployments.config import CheckpointConfig, EngineConfig
from deployments.contracts import Done
from deployments.diffusion.components import Components
from deployments.diffusion.engine import DiffusionEngine
from deployments.encoding import encode_picture
from deployments.jobs import Encoding, PoseControlJob, TextToImageJob

import numpy as np  # isort: skip
import torch  # isort: skip
from torch.utils.flop_counter import FlopCounterMode  # isort: skip


class Case(NamedTuple):
    """A batch of equal pictures."""

    name: str
    edge_px: int
    steps: int
    guidance_scale: float
    batch: int
    posed: bool = False


def cases(edge_px: int) -> list[Case]:
    """`edge_px`: the model's own size."""
    return [
        *(Case(f"{edge_px} px, 20 steps", edge_px, 20, 8.0, batch) for batch in (1, 4, 8)),
        *(Case(f"{edge_px} px, 20 steps, ControlNet", edge_px, 20, 8.0, batch, posed=True) for batch in (1, 4)),
        *(Case(f"{edge_px // 2} px, 20 steps", edge_px // 2, 20, 8.0, batch) for batch in (1, 8)),
        *(Case(f"{edge_px} px, 4 steps, no guidance", edge_px, 4, 0.0, batch) for batch in (1, 8)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", type=int, nargs="+", help="their numbers in the table, from 0; all where unset")
    parser.add_argument("--cache-dir", help="where compiled kernels are kept")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)

    device = torch.device("cpu" if options.tiny else "cuda")
    dtype = torch.float32 if options.tiny else getattr(torch, options.dtype)
    build = build_tiny if options.tiny else build_sdxl
    every = cases(32 if options.tiny else 1024)
    chosen = [every[number] for number in options.cases or range(len(every))]
    with tempfile.TemporaryDirectory() as folder:
        components = build(Path(folder), device, dtype)
    if not any(case.posed for case in chosen):
        components = Components(components.text_to_image, None, device=device)
    matrix_rate = _matrix_rate(device, dtype)
    rows: list[dict[str, Any]] = []
    for case in chosen:
        flop = _flop(components, case)
        rows.append({"case": case.name, "batch": case.batch, "TFLOP": flop / 1e12, "bound s": flop / matrix_rate})
    notes = {"dtype": str(dtype), "matrix rate TFLOP/s": matrix_rate / 1e12, "seconds are per picture": ""}
    # The setting counts for the thread that makes it: the engine makes its own. Past its limit torch runs eagerly.
    dynamo: Any = torch._dynamo.config
    dynamo.recompile_limit = dynamo.accumulated_recompile_limit = 10_000
    if options.tiny:
        torch.compiler.set_stance(force_backend="eager")
    modes = {"eager": False} | ({"compiled": True} if options.compile else {})
    for mode, compiled in modes.items():
        config = _config(chosen, components, compiled, options.cache_dir)
        started_s = time.monotonic()
        engine = DiffusionEngine(CheckpointConfig(path="random"), config, load=lambda *_: components)
        engine.warm_up()
        print(f"engine {mode}: ready after {time.monotonic() - started_s:.0f} s")
        for case, row in zip(chosen, rows, strict=True):
            seconds = _median_s(partial(_draw_with_engine, engine, case), device, options.repeats)
            row[f"engine {mode} s"] = seconds / case.batch
        engine.close()
        if compiled:
            components.unet.compile(dynamic=False)
            components.vae.decoder.compile(dynamic=False)
            if components.controlnet is not None:
                components.controlnet.compile(dynamic=False)
        for case, row in zip(chosen, rows, strict=True):
            seconds = _median_s(partial(_draw_with_diffusers, components, case), device, options.repeats)
            row[f"diffusers {mode} s"] = seconds / case.batch
        report("gpu_tiny" if options.tiny else "gpu", rows, notes)


def _config(chosen: list[Case], components: Components, compiled: bool, cache_dir: str | None) -> EngineConfig:
    rows = sorted({case.batch * (2 if case.guidance_scale > 1 else 1) for case in chosen})
    largest = max(case.edge_px for case in chosen) // components.latent_scale
    return EngineConfig(
        budget=rows[-1] * largest**2,
        channels_last=components.device.type == "cuda",
        fuse_qkv=True,
        compile=compiled,
        row_buckets=tuple(rows),
        decode_batch=2,  # each number of pictures is compiled for itself
        warm_up_sizes=tuple(dict.fromkeys((case.edge_px, case.edge_px) for case in chosen)),
        cache_dir=cache_dir,
    )


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product."""
    size = 8192 if device.type == "cuda" else 512
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        for _ in range(10):
            one @ other

    return 10 * 2 * size**3 / _median_s(multiply, device, 10)


def _flop(components: Components, case: Case) -> float:
    """Of the matrix products and convolutions of one picture, counted while diffusers draws it in one step."""
    one_step = case._replace(steps=1, batch=1)
    with FlopCounterMode(display=False) as counter:
        _draw_with_diffusers(components, one_step)
    by_module = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    total = by_module["Global"]
    steps = sum(count for name, count in by_module.items() if name in ("UNet2DConditionModel", "ControlNetModel"))
    return float(total + steps * (case.steps - 1))


def _draw_with_engine(engine: DiffusionEngine, case: Case) -> None:
    async def draw(seed: int) -> None:
        fields: dict[str, Any] = {"width_px": case.edge_px, "height_px": case.edge_px}
        fields |= {"render_width_px": case.edge_px, "render_height_px": case.edge_px, "seeds": (seed,)}
        fields |= {"request_id": "benchmark", "prompt": "a red cat on the house", "negative_prompt": "a blue dog"}
        fields |= {"steps": case.steps, "guidance_scale": case.guidance_scale, "scheduler": "euler"}
        fields |= {"deadline_unix_s": time.time() + 3600}
        if case.posed:
            fields |= {"image": _skeleton(case), "skeleton": _skeleton(case), "controlnet_scale": 1.0}
        job = PoseControlJob(**fields) if case.posed else TextToImageJob(**fields)
        async for event in engine.submit(job):
            assert not isinstance(event, Done) or event.response.pictures

    async def everyone() -> None:
        await asyncio.gather(*(draw(seed) for seed in range(case.batch)))

    asyncio.run(everyone())


@torch.inference_mode()
def _draw_with_diffusers(components: Components, case: Case) -> None:
    pipeline = components.pose_control if case.posed else components.text_to_image
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = components.scheduler("euler")
    inputs: dict[str, Any] = {"width": case.edge_px, "height": case.edge_px}
    if case.posed:
        inputs |= {"image": [torch.zeros(3, case.edge_px, case.edge_px)] * case.batch}
    pictures = pipeline(
        prompt=["a red cat on the house"] * case.batch,
        negative_prompt=["a blue dog"] * case.batch,
        num_inference_steps=case.steps,
        guidance_scale=case.guidance_scale,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in range(case.batch)],
        **inputs,
    ).images
    for picture in pictures:
        encode_picture(np.asarray(picture), Encoding(), seed=0)


def _skeleton(case: Case) -> Any:
    return np.zeros((case.edge_px, case.edge_px, 3), dtype=np.uint8)


def _median_s(action: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Once to warm up, then the median of `repeats`."""
    seconds = []
    for _ in range(repeats + 1):
        started_s = time.monotonic()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.monotonic() - started_s)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
