"""A tiny SDXL checkpoint with random weights, in the hub's layout: for tests that need no picture worth seeing."""

from __future__ import annotations

import json
from pathlib import Path

import deployments.diffusion  # noqa: F401  (before diffusers and transformers: see there)

import torch  # isort: skip
from diffusers import (  # isort: skip
    AutoencoderKL,
    AutoencoderTiny,
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

WORDS = ("red", "blue", "cat", "dog", "house", "on", "a", "of", "in", "the")


def build_checkpoint(folder: Path) -> Path:
    """Writes `model`, `controlnet` and `preview` below `folder`. The same weights every time.

    The VAE scales by 2, so pictures of 32 x 32 have latents of 16 x 16.
    """
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=80,  # 6 * 8 of the time ids and 32 of the pooled text
        cross_attention_dim=64,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
    )
    pipeline = small_pipeline(folder / "tokenizer", unet, vae, width=32, inner_width=37, layers=3)
    pipeline.save_pretrained(folder / "model")
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))
    with torch.no_grad():
        for name, parameter in controlnet.named_parameters():
            if "controlnet_" in name:  # zero in a new ControlNet: it would do nothing
                parameter.copy_(torch.randn_like(parameter) * 0.05)
    controlnet.save_pretrained(folder / "controlnet")
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).save_pretrained(folder / "preview")
    return folder


def small_pipeline(
    tokenizer: Path, unet: UNet2DConditionModel, vae: AutoencoderKL, width: int, inner_width: int, layers: int
) -> StableDiffusionXLPipeline:
    """Two models with two random text encoders of one shape; writes the tokenizer into a new folder."""
    vocabulary_size = write_tokenizer(tokenizer)
    text_config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=inner_width,
        num_hidden_layers=layers,
        projection_dim=width,
        num_attention_heads=4,
        vocab_size=vocabulary_size,
        bos_token_id=vocabulary_size - 2,
        eos_token_id=vocabulary_size - 1,
        hidden_act="gelu",
    )
    return StableDiffusionXLPipeline(
        vae=vae,
        unet=unet,
        text_encoder=CLIPTextModel(text_config),
        text_encoder_2=CLIPTextModelWithProjection(text_config),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer),
        tokenizer_2=CLIPTokenizer.from_pretrained(tokenizer, pad_token="!"),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        add_watermarker=False,
    )


def write_tokenizer(folder: Path) -> int:
    """Every byte is a token, inside and at the end of a word, and so are a few whole words.

    Returns:
        The size of the vocabulary.
    """
    folder.mkdir(parents=True)
    letters = _byte_letters()
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merge = (parts[0], parts[1])
            if merge not in merges:
                merges.append(merge)
                vocabulary.append("".join(merge))
            parts = ["".join(merge), *parts[2:]]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(merge) for merge in merges)]))
    CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=77
    ).save_pretrained(folder)
    return len(vocabulary)


def _byte_letters() -> list[str]:
    """GPT-2's printable letter for each byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
