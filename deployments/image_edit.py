"""ImageEdit: picture + prompt → pictures: img2img, and inpainting where there is a mask."""

from __future__ import annotations

from deployments.pipeline import Pipeline


class ImageEdit(Pipeline):
    """Draws `ImageEditJob`s."""
