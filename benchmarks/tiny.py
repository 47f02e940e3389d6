"""An SDXL of 256 px with random weights: fewer and wider layers than the embedded model's, latents of an eighth."""

from __future__ import annotations

from pathlib import Path

import deployments.diffusion  # noqa: F401  (before diffusers and transformers: see there)
from tests.checkpoints import small_pipeline

import torch  # isort: skip
from diffusers import AutoencoderKL, UNet2DConditionModel  # isort: skip


def build_tiny(folder: Path) -> Path:
    """Writes it below `folder` in the hub's layout, in fp32; returns its own folder. The same weights every time.

    diffusers alone takes about 1.5 s on two cores for a guided picture of 20 steps.
    """
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(64, 128, 256),
        layers_per_block=1,
        sample_size=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4, 8),
        transformer_layers_per_block=(1, 1, 1),
        use_linear_projection=True,
        cross_attention_dim=256,  # both text encoders' states side by side
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=320,  # 6 * 32 of the time ids and 128 of the pooled text
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        sample_size=256,
    )
    pipeline = small_pipeline(folder / "tokenizer", unet, vae, width=128, inner_width=512, layers=4)
    pipeline.save_pretrained(folder / "model")
    return folder / "model"
