"""Loads a checkpoint into diffusers' own pipeline objects, whose methods do everything around the denoising loop."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)

from deployments.config import CheckpointConfig
from deployments.diffusion.lms import RememberingLMSScheduler
from deployments.schedulers import SCHEDULERS

OWN_SCHEDULERS: dict[str, Any] = {"LMSDiscreteScheduler": RememberingLMSScheduler}
"""What takes the place of a class of diffusers."""


class CheckpointError(Exception):
    """A checkpoint can't be loaded. Built from positional arguments, so that it pickles."""

    def __init__(self, checkpoint: str, reason: str) -> None:
        super().__init__(checkpoint, reason)
        self.checkpoint = checkpoint
        self.reason = reason

    def __str__(self) -> str:
        return f"checkpoint {self.checkpoint!r}: {self.reason}"


@dataclass
class Components:
    """The models of one checkpoint and the pipelines that share them."""

    text_to_image: Any
    """A `StableDiffusionXLPipeline`: the owner of the UNet, the VAE, the text encoders and the tokenizers."""
    controlnet: Any = None
    """A `ControlNetModel`, or None: then poses can't be drawn."""
    preview_vae: Any = None
    """An `AutoencoderTiny`, or None: then the VAE draws previews."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        shared = self.text_to_image.components
        zeros = self.text_to_image.config.force_zeros_for_empty_prompt
        settings = {"force_zeros_for_empty_prompt": zeros, "add_watermarker": False}
        self.image_to_image = StableDiffusionXLImg2ImgPipeline(**shared, **settings)
        self.inpaint = StableDiffusionXLInpaintPipeline(**shared, **settings)
        self.pose_control: Any = self.controlnet is not None and StableDiffusionXLControlNetPipeline(
            **shared, **settings, controlnet=self.controlnet
        )
        self._scheduler_config = self.text_to_image.scheduler.config
        self._schedulers: dict[str, Any] = {}

    @property
    def unet(self) -> Any:
        return self.text_to_image.unet

    @property
    def vae(self) -> Any:
        return self.text_to_image.vae

    @property
    def latent_scale(self) -> int:
        """Picture pixels per latent pixel, along an edge."""
        return int(self.text_to_image.vae_scale_factor)

    def scheduler(self, name: str) -> Any:
        """A new scheduler of the table; `KeyError` for a name that is not in it."""
        if name not in self._schedulers:
            spec = SCHEDULERS[name]
            scheduler_class = OWN_SCHEDULERS.get(spec.class_name) or getattr(diffusers, spec.class_name)
            self._schedulers[name] = scheduler_class.from_config(self._scheduler_config, **spec.arguments)
        return copy.deepcopy(self._schedulers[name])  # ten times faster than from_config


def load_components(checkpoint: CheckpointConfig, preview_decoder: str | None = None) -> Components:
    """Loads `checkpoint` from the hub or a folder.

    Raises:
        CheckpointError: it is missing, broken, or not an SDXL checkpoint.
    """
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()  # Ray shows such a bar late, in pieces, after "Ready"
    device = device_of(checkpoint)
    dtype = getattr(torch, checkpoint.dtype)
    replaced = {"vae": _load(AutoencoderKL, checkpoint.vae, dtype=dtype)} if checkpoint.vae else {}
    pipeline = _load(
        StableDiffusionXLPipeline,
        checkpoint.path,
        dtype=dtype,
        revision=checkpoint.revision,
        variant=checkpoint.variant,
        add_watermarker=False,
        **replaced,
    )
    _check(pipeline, checkpoint.path)
    pipeline.set_progress_bar_config(disable=True)
    controlnet = checkpoint.controlnet and _load(
        ControlNetModel, checkpoint.controlnet, dtype=dtype, variant=checkpoint.controlnet_variant
    )
    preview_vae = preview_decoder and _load(AutoencoderTiny, preview_decoder, dtype=dtype)
    for model in (pipeline, controlnet, preview_vae):
        if model:
            model.to(device)
    if pipeline.vae.config.force_upcast:
        pipeline.vae.to(torch.float32)  # SDXL's own VAE overflows in fp16; the pipelines upcast it for each picture
    return Components(pipeline, controlnet or None, preview_vae or None, device)


def device_of(checkpoint: CheckpointConfig) -> torch.device:
    """The device that `checkpoint` names."""
    if checkpoint.device != "auto":
        return torch.device(checkpoint.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _load(model_class: Any, path: str, **arguments: Any) -> Any:
    try:
        return model_class.from_pretrained(path, **arguments)
    except Exception as error:  # diffusers, the hub and safetensors each raise their own
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(path, first_line[:300]) from error


def _check(pipeline: Any, path: str) -> None:
    missing = [name for name in ("unet", "vae", "text_encoder", "text_encoder_2") if getattr(pipeline, name) is None]
    if missing:
        raise CheckpointError(path, f"has no {', '.join(missing)}; the SDXL base layout is needed")
    unet, vae = pipeline.unet.config, pipeline.vae.config
    if unet.in_channels != vae.latent_channels:
        raise CheckpointError(
            path, f"its UNet takes {unet.in_channels} channels and its VAE has {vae.latent_channels}; both must agree"
        )
