"""Uniform traffic: the engine against diffusers' pipeline at its best static batch, pictures a second.

python -m benchmarks.engine_uniform [--size 512] [--steps 12] [--pictures 16] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from benchmarks.embedded import CHECKPOINT, ENGINE, draw_with_diffusers, engine_over, make_job, run_as_the_service_does
from benchmarks.report import report
from deployments.diffusion.components import Components, load_components
from deployments.diffusion.engine import DiffusionEngine
from deployments.encoding import encode_picture

import numpy as np  # isort: skip

BATCHES = (1, 2, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    run_as_the_service_does()

    components = load_components(CHECKPOINT)
    engines = {rows: _engine(components, rows, options.size) for rows in (8, 16, 32)}
    systems = {f"diffusers, batches of {batch}": ("diffusers", batch) for batch in BATCHES}
    systems |= {f"engine, {rows} rows": ("engine", rows) for rows in engines}
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for round_index in range(options.rounds + 1):
        for name, (system, size) in systems.items():  # side by side: the machine's mood changes by the minute
            started_s = time.monotonic()
            if system == "engine":
                asyncio.run(_draw_all(engines[size], options.size, options.steps, options.pictures))
            else:
                _draw_batches(components, options.size, options.steps, options.pictures, size)
            if round_index:  # the first round warms up
                rates[name].append(options.pictures / (time.monotonic() - started_s))
    for engine in engines.values():
        engine.close()

    best = max(
        (name for name in systems if name.startswith("diffusers")), key=lambda name: statistics.median(rates[name])
    )
    rows = [
        {
            "system": name,
            "pictures/s": statistics.median(rates[name]),
            f"x {best}": statistics.median(own / other for own, other in zip(rates[name], rates[best], strict=True)),
        }
        for name in systems
    ]
    report("engine_uniform", rows, {"size": options.size, "steps": options.steps, "rounds": options.rounds})


def _engine(components: Components, rows: int, edge_px: int) -> DiffusionEngine:
    budget = rows * (edge_px // components.latent_scale) ** 2
    return engine_over(components, ENGINE.model_copy(update={"budget": budget}))


async def _draw_all(engine: DiffusionEngine, edge_px: int, steps: int, pictures: int) -> None:
    async def draw(seed: int) -> None:
        async for _ in engine.submit(make_job(edge_px, steps, seed)):
            pass

    await asyncio.gather(*(draw(seed) for seed in range(pictures)))


def _draw_batches(components: Components, edge_px: int, steps: int, pictures: int, batch: int) -> None:
    """Each picture is written as a PNG file too, as the engine does."""
    for first in range(0, pictures, batch):
        seeds = list(range(first, min(first + batch, pictures)))
        for seed, picture in zip(seeds, draw_with_diffusers(components, edge_px, steps, seeds), strict=True):
            encode_picture(np.asarray(picture), make_job(edge_px, steps, seed).encoding, seed)


if __name__ == "__main__":
    main()
