"""The figures that the run is for, out of all that its stages found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Found = Mapping[str, Any]


def summarize(stages: Found) -> dict[str, Any]:
    """None where a stage was not run, failed, or has no such figure on this device."""

    def of(stage: str, part: str, figure: str) -> Any:
        parts = stages.get(stage, {}).get("parts", {})
        return ((parts.get(part) or {}).get("figures") or {}).get(figure)

    def ratio(one: Any, other: Any) -> float | None:
        return one / other if one and other else None

    rate = of("throughput", "loop", "pictures_per_s")
    one_s = of("latency", "one", "p50 s")
    work, matrix_rate = of("correctness", "work", "TFLOP a picture"), of("ceilings", "matrix_rate", "TFLOP/s")
    many_s = of("graphs", "diffusers_many", "s a picture")
    return {
        "error of latents: diffusers in 16 bits": of("correctness", "reference", "diffusers' own error"),
        "error of latents: engine, eager": of("correctness", "engine", "error"),
        "error of latents: engine, compiled": of("throughput", "error", "error"),
        "error of latents: engine, compiled, in full passes": of("throughput", "error", "error in full passes"),
        "one picture, p50 s": one_s,
        "one picture, p95 s": of("latency", "one", "p95 s"),
        "closed loop, pictures/s": rate,
        "closed loop, p95 s": of("throughput", "loop", "p95_s"),
        "bytes of a picture": of("throughput", "loop", "picture_bytes"),
        "share of the measured matrix rate, closed loop": ratio(work and rate and work * rate, matrix_rate),
        "share of the measured matrix rate, one picture": ratio(work and one_s and work / one_s, matrix_rate),
        "engine eager, pictures/s": of("correctness", "engine", "pictures/s"),
        "diffusers eager / engine, one picture": ratio(of("correctness", "diffusers", "batch 1, s"), one_s),
        "diffusers compiled / engine, one picture": ratio(of("graphs", "diffusers_one", "s a picture"), one_s),
        "engine / diffusers eager, largest batch": ratio(
            rate and of("correctness", "diffusers", "largest batch, s"), ratio(1, rate)
        ),
        "engine / diffusers compiled, largest batch": ratio(many_s, ratio(1, rate)),
        "mixed steps, p95 of the short, engine / static": ratio(
            of("latency", "mixed", "engine, short p95 s"), of("latency", "mixed", "static, short p95 s")
        ),
        "HTTP, pictures/s": of("service", "http", "pictures_per_s"),
        "HTTP / engine alone, pictures/s": ratio(of("service", "http", "pictures_per_s"), rate),
        **{
            f"{name}, {figure}": of("pipelines", part, figure)
            for part, name in PIPELINES.items()
            for figure in ("p50 s", "pictures/s")
        },
        "out of memory while serving: all drawn": _all_drawn(of, "serving"),
        "out of memory while recording: all drawn": _all_drawn(of, "capture"),
        "recompiles after the warm-up": of("pipelines", "counters", "recompiles"),
        "waits for the device a tick": of("throughput", "waits", "a tick"),
        "start, nothing kept, s": of("throughput", "start", "start s"),
        "start, caches kept, s": of("start", "again", "start s"),
        "GB: weights": of("throughput", "memory", "weights"),
        "GB: peak of 16 rows": of("throughput", "memory", "peak of most rows"),
        "GB: peak of 16 rows, ControlNet": of("throughput", "memory", "peak of most rows, ControlNet"),
        "rows that the memory probe chose": of("throughput", "start", "budget, rows"),
        "whole models compiled, pictures/s": of("graphs", "whole", "pictures_per_s"),
        "CUDA graphs, one picture, p50 s": of("graphs", "captured", "p50 s"),
        "8 bits, pictures/s": of("graphs", "eight_bits", "pictures_per_s"),
    }


PIPELINES = {
    "poses": "ControlNet",
    "small": "half the edge",
    "few_steps": "few steps, no guidance",
    "edits": "img2img",
    "masks": "mask",
}


def _all_drawn(of: Any, part: str) -> bool | None:
    drawn = of("exhaustion", part, "pictures")
    return None if drawn is None else bool(drawn == of("exhaustion", part, "ordered"))
