"""What a mask keeps."""

from __future__ import annotations

import numpy as np

from deployments.contracts import ImageEditJob, Job, Pixels


def with_kept_parts(drawn: Pixels, job: Job) -> Pixels:
    """A drawn picture with the parts that the job's mask keeps as they were.

    Inpainting keeps them in the latents; on the way through the VAE, whose attention sees the whole picture, they
    would still change by a few levels.

    Args:
        drawn: (render_height_px, render_width_px, 3) uint8.
        job: what was drawn; without a mask the picture stays as it is.
    """
    if not isinstance(job, ImageEditJob) or job.mask is None:
        return drawn
    opened = job.mask[..., None].astype(np.float32) / 255
    return np.rint(drawn * opened + job.image * (1 - opened)).astype(np.uint8)
