"""SDXL with random weights: the architecture of stabilityai/stable-diffusion-xl-base-1.0, without its 7 GB.

Or, for a CPU, the same with few and narrow blocks of one width, which share their compiled graphs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployments.diffusion.components import Components
from tests.checkpoints import write_tokenizer

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

UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
TINY_UNET = UNET | {
    "sample_size": 16,
    "block_out_channels": (32, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 1),
    "attention_head_dim": (2, 2),
    "cross_attention_dim": 64,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 80,  # 6 * 8 of the time ids and 32 of the pooled text
    "norm_num_groups": 8,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "force_upcast": False,
}
TINY_VAE = VAE | {
    "block_out_channels": (32, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "sample_size": 32,
}
CONDITIONING = (16, 32, 96, 256)  # channels of the ControlNet's own input, as ControlNetModel has them
TINY_CONDITIONING = (16, 32)
TEXT = ((768, 12, 12, "quick_gelu"), (1280, 20, 32, "gelu"))  # width, heads, layers, activation
TINY_TEXT = ((32, 4, 2, "quick_gelu"), (32, 4, 2, "gelu"))

UNET_GAIN = 3.0
"""Raises the last layer of the UNet, so that its output has the size of the noise that it stands for."""
VAE_GAIN = 0.3
"""Lowers the last layer of the VAE: at this contrast the PNG files of its noise are as large as those of pictures."""


def build(folder: Path, device: torch.device, dtype: torch.dtype, tiny: bool) -> Components:
    """Made on `device` in `dtype` at once. `folder`, a new one, is for the tokenizer."""
    vocabulary_size = write_tokenizer(folder)
    text = TINY_TEXT if tiny else TEXT
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.manual_seed(0)
    try:
        with device, torch.no_grad():
            unet = UNet2DConditionModel(**(TINY_UNET if tiny else UNET))
            controlnet = ControlNetModel.from_unet(
                unet, conditioning_embedding_out_channels=TINY_CONDITIONING if tiny else CONDITIONING
            )
            vae = AutoencoderKL(**(TINY_VAE if tiny else VAE))
            encoders = [
                model(_text_config(*each, vocabulary_size if tiny else 49408, vocabulary_size))
                for model, each in zip((CLIPTextModel, CLIPTextModelWithProjection), text, strict=True)
            ]
            unet.conv_out.weight *= UNET_GAIN
            vae.decoder.conv_out.weight *= VAE_GAIN
            for name, parameter in controlnet.named_parameters():
                if "controlnet_" in name:  # zero in a new ControlNet: it would do nothing
                    parameter.copy_(torch.randn_like(parameter) * 0.05)
    finally:
        torch.set_default_dtype(before)
    for model in (unet, controlnet, vae, *encoders):
        model.to(device).eval().requires_grad_(False)
    pipeline = StableDiffusionXLPipeline(
        vae=vae,
        unet=unet,
        text_encoder=encoders[0],
        text_encoder_2=encoders[1],
        tokenizer=CLIPTokenizer.from_pretrained(folder),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder, pad_token="!"),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return Components(pipeline, controlnet, device=device)


def _text_config(
    width: int, heads: int, layers: int, activation: str, vocabulary_size: int, tokens: int
) -> CLIPTextConfig:
    """`tokens`: of the tokenizer, whose last two mark the start and the end of a prompt."""
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        hidden_act=activation,
        projection_dim=width,
        vocab_size=vocabulary_size,
        bos_token_id=tokens - 2,
        eos_token_id=tokens - 1,
    )
