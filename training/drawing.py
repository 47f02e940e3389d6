"""The embedded model behind diffusers' own pipelines, at its default preset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image

from deployments.diffusion.body_estimator import BodyEstimator
from deployments.diffusion.openpose import OpenposeDetector
from training.run import DEMO
from training.skeletons import draw_skeleton

STEPS, GUIDANCE, STRENGTH = 12, 4.0, 0.3
_ROWS_AT_ONCE = {256: 8, 512: 4, 1024: 2}


class DemoModel:
    """Draws, edits and poses square pictures of one size; row k of a call has the seed `seed + k`."""

    def __init__(self, side_px: int, seed: int, folder: Path = DEMO) -> None:
        controlnet = ControlNetModel.from_pretrained(folder / "controlnet", dtype=torch.float32)
        self._draw = StableDiffusionXLPipeline.from_pretrained(folder / "model", dtype=torch.float32)
        parts = {**self._draw.components, "add_watermarker": False}
        self._edit = StableDiffusionXLImg2ImgPipeline(**parts)
        self._pose = StableDiffusionXLControlNetPipeline(**parts, controlnet=controlnet)
        for pipeline in (self._draw, self._edit, self._pose):
            pipeline.set_progress_bar_config(disable=True)
        self._detector = OpenposeDetector(BodyEstimator.from_pretrained(folder / "pose"))
        self._side_px, self._seed = side_px, seed

    def draw(self, prompts: list[str]) -> list[np.ndarray]:
        """One picture a prompt, (side, side, 3) uint8."""
        side = {"height": self._side_px, "width": self._side_px, "num_inference_steps": STEPS}
        return self._rows(prompts, lambda **given: self._draw(**given, **side))

    def edit(self, prompts: list[str], sources: list[np.ndarray]) -> list[np.ndarray]:
        """Edits of pictures."""
        settings = {"num_inference_steps": STEPS, "strength": STRENGTH}
        images = [Image.fromarray(source) for source in sources]
        return self._rows(prompts, lambda **given: self._edit(**given, **settings), image=images)

    def control(self, prompts: list[str], poses: list[np.ndarray]) -> list[np.ndarray]:
        """Pictures in given poses, (18, 2) each, in shares of the side."""
        images = [Image.fromarray(draw_skeleton(pose, self._side_px)) for pose in poses]
        return self._rows(prompts, lambda **given: self._pose(**given, num_inference_steps=STEPS), image=images)

    def found_pose(self, picture: np.ndarray) -> np.ndarray | None:
        """The keypoints that the estimator finds, (18, 2) in shares of the side, NaN where none; None for no person."""
        found = self._detector.detect_poses(picture)
        if not found:
            return None
        return np.array([(p.x, p.y) if p else (np.nan, np.nan) for p in found[0].body.keypoints])

    def _rows(self, prompts: list[str], call: Callable[..., Any], **inputs: list[Image.Image]) -> list[np.ndarray]:
        drawn: list[np.ndarray] = []
        for start in range(0, len(prompts), _ROWS_AT_ONCE[self._side_px]):
            rows = slice(start, start + _ROWS_AT_ONCE[self._side_px])
            seeds = range(self._seed + start, self._seed + start + len(prompts[rows]))
            answer = call(
                prompt=prompts[rows],
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                guidance_scale=GUIDANCE,
                output_type="np",
                **{name: value[rows] for name, value in inputs.items()},
            )
            drawn += [np.round(picture * 255).astype(np.uint8) for picture in answer.images]
        return drawn
