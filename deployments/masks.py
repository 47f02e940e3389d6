"""What a mask keeps."""

from __future__ import annotations

import numpy as np
from PIL import Image

from deployments.jobs import ImageEditJob, Job, Pixels


def with_kept_parts(finished: Pixels, job: Job) -> Pixels:
    """A finished picture with the parts that the job's mask keeps as they were.

    Inpainting keeps them in the latents; on the way through the VAE, whose attention sees the whole picture, and
    through scaling they would still change by a few levels.

    Args:
        finished: (height_px, width_px, 3) uint8: what was drawn, at the answer's size.
        job: what was drawn; without a mask the picture stays as it is.
    """
    if not isinstance(job, ImageEditJob) or job.kept is None:
        return finished
    picture = Image.fromarray(finished)
    picture.paste(Image.fromarray(job.kept[..., :3]), mask=Image.fromarray(job.kept[..., 3]))
    return np.asarray(picture)
