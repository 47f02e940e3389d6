"""The service's benchmark has a second checkpoint: it loads and draws as any other does. Nothing here is a timing."""

from pathlib import Path

from benchmarks.embedded import draw_with_diffusers
from benchmarks.figures import compare
from benchmarks.workload import WORKLOADS
from deployments.diffusion.components import load_components


def test_the_tiny_checkpoint_draws(tmp_path: Path) -> None:
    workload = WORKLOADS["tiny"](tmp_path)
    edge_px, _ = workload.small
    (picture,) = draw_with_diffusers(load_components(workload.checkpoint), edge_px, 1, [0])
    assert picture.size == (edge_px, edge_px)


def test_the_better_peer_has_more_pictures_a_second_and_fewer_seconds() -> None:
    service = {"system": "service", "eight: pictures/s": 3.0, "mixed: p95 s": 1.0, "saturated: pictures/s": 3.0}
    peers = [
        {"system": "slow", "eight: pictures/s": 1.0, "mixed: p95 s": 4.0},
        {"system": "fast", "eight: pictures/s": 2.0, "mixed: p95 s": 2.0},
    ]
    assert compare(service, peers) == {
        "service / better peer, eight: pictures/s": 1.5,
        "service / better peer, mixed: p95 s": 0.5,
        "better peer": {"eight: pictures/s": "fast", "mixed: p95 s": "fast"},
    }
