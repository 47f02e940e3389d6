"""`compile: full`: whole models as one graph each, with inductor's own kernels, draw what eager ones draw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deployments.config import CheckpointConfig, EngineConfig
from deployments.diffusion.acceleration.compilation import graphs_compiled
from deployments.diffusion.engine import DiffusionEngine
from deployments.jobs import ImageEditJob
from tests.deployments.diffusion.conftest import draw, largest_difference, make_job, random_picture


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch's compiler
def test_whole_models_draw_what_eager_ones_draw(
    checkpoint: CheckpointConfig, engine: DiffusionEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))
    config = EngineConfig(
        budget=4 * 16 * 16,
        compile="full",
        row_buckets=(4,),  # each has graphs of its own, which a compiler for CPUs takes most of a minute for
        warm_up_sizes=((32, 32),),
        cache_dir=str(tmp_path / "kept"),
    )
    before = graphs_compiled()
    whole = DiffusionEngine(checkpoint.model_copy(update={"controlnet": None}), config)
    try:
        whole.warm_up()
        assert graphs_compiled() == before + 2  # the UNet's and the decoder's
        jobs = [
            make_job(),
            make_job(seeds=(1, 2, 3), guidance_scale=1),
            make_job(seeds=(4, 5, 6)),  # more rows than a pass has
            make_job(ImageEditJob, image=random_picture(), strength=0.8),
        ]
        for job in jobs:
            for own, eager in zip(draw(whole, job), draw(engine, job), strict=True):
                assert largest_difference(own, eager) <= 1
        assert whole.stats.unrehearsed == 0
        draw(whole, make_job(render_width_px=48))
        assert whole.stats.unrehearsed == 1
        assert whole.stats.recompiles == 0
    finally:
        whole.close()
        torch.compiler.set_stance("default")
