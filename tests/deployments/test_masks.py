"""What a mask keeps."""

from __future__ import annotations

import numpy as np

from deployments.jobs import ImageEditJob
from deployments.masks import with_kept_parts
from tests.deployments.diffusion.conftest import half_mask, make_job


def test_what_the_mask_keeps_is_the_pictures_own_and_an_edge_is_a_mixture() -> None:
    finished = np.full((32, 32, 3), 210, np.uint8)
    kept = np.full((32, 32, 4), 10, np.uint8)
    kept[:, :10, 3], kept[:, 10:20, 3], kept[:, 20:, 3] = 255, 127, 0
    image = np.zeros((64, 64, 3), np.uint8)  # at the render size, which is of no concern here
    job = make_job(job_class=ImageEditJob, image=image, strength=1.0, mask=half_mask(64, 64), kept=kept)
    result = with_kept_parts(finished, job)
    assert set(result[:, :10].flat) == {10}
    assert set(result[:, 10:20].flat) == {110}
    assert set(result[:, 20:].flat) == {210}


def test_without_a_mask_nothing_is_kept() -> None:
    finished = np.full((32, 32, 3), 210, np.uint8)
    assert with_kept_parts(finished, make_job()) is finished
    edit = make_job(job_class=ImageEditJob, image=np.zeros((32, 32, 3), np.uint8), strength=0.5)
    assert with_kept_parts(finished, edit) is finished
