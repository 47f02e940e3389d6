"""Trains an autoencoder of 16 times smaller with 4 channels, which `deepen_vae` makes one of 32 times."""

from argparse import Namespace

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from training.crops import Crops
from training.run import RUNS, arguments, as_pixels, train
from training.scenes import render, sample_scene
from training.workers import on_workers, rank

SCALING = 0.13025  # SDXL's own, so that the latents have the scale that SDXL's have
WIDTHS = (16, 16, 32, 64, 80)
SHALLOW = RUNS / "vae_16"
_SIDES = {128: 0.25, 256: 0.55, 512: 0.2}  # shares of the crops, in pixels
_KL = 1e-4
_ANCHOR, _ANCHOR_CHANNEL = 30.0, 3


def build_vae(widths: tuple[int, ...] = WIDTHS) -> AutoencoderKL:
    """An untrained autoencoder; each width after the first halves the picture's side."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=1024,
        scaling_factor=SCALING,
        force_upcast=False,
    )
    _anchor(vae)
    return vae


@torch.no_grad()
def _anchor(vae: AutoencoderKL) -> None:
    """Starts both halves as plain resampling, with one channel that holds a large constant.

    Group normalization erases the colour of a flat picture: without the constant, colours were not learned in the
    first 400 steps at all. With it the mean and the deviation that it takes away are nearly the same everywhere.
    """
    for name, module in vae.named_modules():
        if isinstance(module, nn.GroupNorm):
            channels = module.num_channels
            module.weight.fill_(_ANCHOR * (1 / channels - 1 / channels**2) ** 0.5)
            module.bias.fill_(_ANCHOR / channels)
            module.weight[_ANCHOR_CHANNEL] = module.bias[_ANCHOR_CHANNEL] = 0
        elif name.endswith(("conv_in", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv")):
            nn.init.dirac_(module.weight)
            module.weight += 0.02 * torch.randn_like(module.weight)
            module.bias.zero_()
            if not name.endswith("conv_in"):
                middle = module.kernel_size[0] // 2
                module.weight[_ANCHOR_CHANNEL] = 0
                module.weight[_ANCHOR_CHANNEL, _ANCHOR_CHANNEL, middle, middle] = 1
                others = torch.arange(module.out_channels) != _ANCHOR_CHANNEL
                module.weight[others, _ANCHOR_CHANNEL] = 0
        elif name.endswith("conv2"):
            module.weight *= 0.2
        if name.endswith(("conv_in", "conv1", "conv2")):
            module.weight[_ANCHOR_CHANNEL] = 0
            module.bias[_ANCHOR_CHANNEL] = 0 if name.endswith("conv2") else _ANCHOR
    # Begin with little noise in the latents: with the usual deviation of 1 the decoder learns to ignore them.
    nn.init.constant_(vae.quant_conv.bias[4:], -5.0)


def hold_anchor(vae: AutoencoderKL) -> None:
    """Keeps the constant channel as it is: weights that read it would see it many times larger than all others."""
    for parameter in vae.parameters():
        if parameter.requires_grad:
            parameter.register_hook(_without_anchor)


def _without_anchor(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    if gradient.shape[0] > 8:
        gradient[_ANCHOR_CHANNEL] = 0
        if gradient.ndim == 4 and gradient.shape[1] > 4:
            gradient[:, _ANCHOR_CHANNEL] = 0
    return gradient


def difference(restored: Tensor, pixels: Tensor) -> tuple[Tensor, dict[str, float]]:
    """How far restored pixels are from the true ones, both in [-1, 1]; and the mean error, as a share of the range."""
    error = (restored - pixels).abs().mean()
    edges = torch.stack([(restored.diff(dim=axis) - pixels.diff(dim=axis)).abs().mean() for axis in (2, 3)]).sum()
    return error + F.mse_loss(restored, pixels) + edges, {"error": error.item() / 2}


@torch.no_grad()
def standardize(vae: AutoencoderKL, pixels: Tensor) -> None:
    """Folds a shift and a scale into the two 1x1 convolutions, so that scaled latents have mean 0 and deviation 1."""
    latents = vae.encode(pixels).latent_dist.mean
    mean, scale = latents.mean((0, 2, 3)), 1 / (SCALING * latents.std((0, 2, 3)))
    vae.quant_conv.bias[:4] = (vae.quant_conv.bias[:4] - mean) * scale
    vae.quant_conv.weight[:4] *= scale[:, None, None, None]
    vae.quant_conv.bias[4:] += 2 * scale.log()
    vae.post_quant_conv.bias += (vae.post_quant_conv.weight[:, :, 0, 0] * mean).sum(1)
    vae.post_quant_conv.weight /= scale[None, :, None, None]


def work(options: Namespace) -> None:
    """What each worker does; the first one writes the result."""
    torch.manual_seed(options.seed)
    vae = build_vae().to(options.device, memory_format=torch.channels_last)
    hold_anchor(vae)
    crops = Crops(options.seed, _SIDES)

    def loss_of(step: int, generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        pixels = as_pixels(crops.batch(options.batch, generator).to(options.device))
        posterior = vae.encode(pixels).latent_dist
        loss, figures = difference(vae.decode(posterior.sample()).sample, pixels)
        return loss + _KL * 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean(), figures

    best = train("vae", vae, loss_of, options, peak=8e-4, decay=0.99)
    if rank() == 0:
        generator = np.random.default_rng((options.seed, 1 << 20))
        fresh = np.stack([render(sample_scene(generator), 256) for _ in range(64)])
        standardize(best, as_pixels(torch.from_numpy(fresh).to(options.device)))
        best.to("cpu", torch.float16).save_pretrained(SHALLOW)


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and writes runs/training/vae_16."""
    on_workers(work, arguments(__doc__ or "", steps=1000, batch=8).parse_args())


if __name__ == "__main__":
    main()
