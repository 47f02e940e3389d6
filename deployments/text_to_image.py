"""TextToImage: prompt → pictures."""

from __future__ import annotations

from deployments.pipeline import Pipeline


class TextToImage(Pipeline):
    """Draws `TextToImageJob`s."""
