"""Five kinds of picture that files are written of."""

from __future__ import annotations

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from benchmarks.embedded import CHECKPOINT, draw_with_diffusers
from deployments.diffusion.components import Components, load_components
from deployments.jobs import Pixels

STEPS = 12
"""Steps of the embedded model's picture, as demo.yaml draws by default."""


def five_kinds(edge_px: int) -> dict[str, Pixels]:
    """Square pictures by kind, each (edge_px, edge_px, 3) uint8."""
    return {
        "drawn": _drawn(load_components(CHECKPOINT), edge_px),
        "smooth": _smooth_with_grain(edge_px),
        "noise": np.random.default_rng(0).integers(0, 256, (edge_px, edge_px, 3), dtype=np.uint8),
        "text": _text(edge_px),
        "photo": _photo(edge_px),
    }


def _drawn(components: Components, edge_px: int) -> Pixels:
    """A flat drawing by the embedded model."""
    return np.asarray(draw_with_diffusers(components, edge_px, STEPS, [0])[0])


def _smooth_with_grain(edge_px: int) -> Pixels:
    """Gradients of light under a film's grain."""
    y, x = np.mgrid[:edge_px, :edge_px] / edge_px
    light = np.stack([np.sin(3 * x + 2 * y), np.cos(4 * y - x), np.sin(5 * x * y)], axis=-1)
    grain = np.random.default_rng(0).normal(0, 3, light.shape)
    return np.clip(127 + 90 * light + grain, 0, 255).astype(np.uint8)


def _text(edge_px: int) -> Pixels:
    """Lines of text under lines of ink."""
    image = Image.new("RGB", (edge_px, edge_px), "white")
    draw = ImageDraw.Draw(image)
    for top_px in range(0, edge_px, 24):
        draw.text((8, top_px), 5 * "Pack my box with five dozen liquor jugs. ", "black", ImageFont.load_default(18))
    for x0, y0, x1, y1 in np.random.default_rng(0).integers(0, edge_px, (20, 4)).tolist():
        draw.line((x0, y0, x1, y1), "black", width=2)
    return np.asarray(image)


def _photo(edge_px: int) -> Pixels:
    """A photograph (NASA's of Eileen Collins, of 512 px), scaled as the service scales."""
    image = Image.fromarray(skimage.data.astronaut())
    return np.asarray(image.resize((edge_px, edge_px), Image.Resampling.LANCZOS))
