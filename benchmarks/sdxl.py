"""SDXL with random weights: the architecture of stabilityai/stable-diffusion-xl-base-1.0, without its 7 GB."""

from __future__ import annotations

from pathlib import Path

from deployments.config import CheckpointConfig
from deployments.diffusion.components import Components, load_components
from tests.checkpoints import build_checkpoint, write_tokenizer

import torch  # isort: skip  (after deployments.diffusion: see there)
from diffusers import (  # isort: skip
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (  # isort: skip
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)


def build_tiny(folder: Path, device: torch.device, dtype: torch.dtype) -> Components:
    """The tests' tiny checkpoint, on the CPU in fp32."""
    build_checkpoint(folder)
    paths = {"path": str(folder / "model"), "controlnet": str(folder / "controlnet")}
    return load_components(CheckpointConfig(dtype="float32", device="cpu", **paths))


def build_sdxl(folder: Path, device: torch.device, dtype: torch.dtype) -> Components:
    """Made on `device` in `dtype` at once."""
    write_tokenizer(folder / "tokenizer")
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            unet = _unet()
            controlnet = ControlNetModel.from_unet(unet)
            vae = _vae()
            encoders = _text_encoder(768, 12, 12, "quick_gelu"), _text_encoder(1280, 20, 32, "gelu", projected=True)
    finally:
        torch.set_default_dtype(before)
    for model in (unet, controlnet, vae, *encoders):
        model.to(device, dtype).eval().requires_grad_(False)
    pipeline = StableDiffusionXLPipeline(
        vae=vae,
        unet=unet,
        text_encoder=encoders[0],
        text_encoder_2=encoders[1],
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder / "tokenizer", pad_token="!"),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
        add_watermarker=False,
    )
    return Components(pipeline, controlnet, device=device)


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=1024,
        scaling_factor=0.13025,
        force_upcast=False,
    )


def _text_encoder(width: int, heads: int, layers: int, activation: str, projected: bool = False) -> torch.nn.Module:
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        hidden_act=activation,
        projection_dim=width,
        vocab_size=49408,
    )
    model: torch.nn.Module = CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)
    return model
