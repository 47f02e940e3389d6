"""What a mask keeps."""

from __future__ import annotations

import numpy as np

from deployments.contracts import ImageEditJob
from deployments.masks import with_kept_parts
from tests.deployments.diffusion.conftest import make_job


def test_what_the_mask_keeps_is_the_pictures_own_and_an_edge_is_a_mixture() -> None:
    image, drawn = np.full((32, 32, 3), 10, np.uint8), np.full((32, 32, 3), 210, np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 10:20], mask[:, 20:] = 128, 255
    job = make_job(job_class=ImageEditJob, image=image, strength=1.0, mask=mask)
    kept = with_kept_parts(drawn, job)
    assert set(kept[:, :10].flat) == {10}
    assert set(kept[:, 10:20].flat) == {110}
    assert set(kept[:, 20:].flat) == {210}


def test_without_a_mask_nothing_is_kept() -> None:
    drawn = np.full((32, 32, 3), 210, np.uint8)
    assert with_kept_parts(drawn, make_job()) is drawn
    edit = make_job(job_class=ImageEditJob, image=np.zeros((32, 32, 3), np.uint8), strength=0.5)
    assert with_kept_parts(drawn, edit) is drawn
