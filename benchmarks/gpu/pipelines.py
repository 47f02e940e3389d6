"""Stage 7: the engine's other work, each kind with one picture at a time and with a full pass."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.drawing import Order, draw_together, one_by_one
from benchmarks.gpu.parts import Part, SkippedPart
from deployments.errors import GenerationFailed

import torch  # isort: skip


def poses(bench: Bench) -> dict[str, Any]:
    """ControlNet, and its rows among others'."""
    order = Order(bench.scale.edge_px, bench.scale.steps, kind="pose")
    half = bench.scale.batch // 2
    others = order._replace(kind="text")
    return {**_both(bench, order), "half of a pass, pictures/s": _rate(bench, [order] * half + [others] * half)}


def edits(bench: Bench) -> dict[str, Any]:
    return _both(bench, Order(bench.scale.edge_px, bench.scale.steps, kind="edit"))


def masks(bench: Bench) -> dict[str, Any]:
    return _both(bench, Order(bench.scale.edge_px, bench.scale.steps, kind="mask"))


def few_steps(bench: Bench) -> dict[str, Any]:
    """Without guidance: one row a picture."""
    return _both(bench, Order(bench.scale.edge_px, bench.scale.few_steps, guidance_scale=0.0))


def small(bench: Bench) -> dict[str, Any]:
    """Half the edge, which the warm-up has not run."""
    return _both(bench, Order(bench.scale.edge_px // 2, bench.scale.steps))


def fall_backs(bench: Bench) -> dict[str, Any]:
    """Every kind of job, and a long prompt, where a block that no compiled graph fits is an error."""
    if not bench.compiles:
        raise SkippedPart("the engine is eager")
    torch.compiler.set_stance("fail_on_recompile")
    try:
        found = {}
        for kind in ("text", "pose", "edit", "mask"):
            for edge_px in (bench.scale.edge_px, bench.scale.edge_px // 2):
                try:
                    draw_together(bench.engine, [Order(edge_px, 2, kind=kind)] * 3)
                except GenerationFailed:
                    found[f"{kind}, {edge_px} px"] = "runs eagerly in parts"
        return found or {"none": True}
    finally:
        torch.compiler.set_stance("eager_on_recompile")


def counters(bench: Bench) -> dict[str, Any]:
    """All that the engine has counted until now."""
    return dict(vars(bench.engine.stats))


def _both(bench: Bench, order: Order) -> dict[str, Any]:
    return {**one_by_one(bench.engine, order, 3), "pictures/s": _rate(bench, [order] * bench.scale.batch)}


def _rate(bench: Bench, orders: list[Order]) -> float:
    """Of one pass's worth, drawn together: once to warm up, then measured."""
    draw_together(bench.engine, orders)
    started_s = time.monotonic()
    draw_together(bench.engine, orders)
    return len(orders) / (time.monotonic() - started_s)


PARTS = (
    Part(few_steps, 4),
    Part(poses, 15),
    Part(edits, 8),
    Part(masks, 8),
    Part(small, 10),
    Part(fall_backs, 6),
    Part(counters, 0),
)
