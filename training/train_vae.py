"""Trains the autoencoder: 16 times smaller, 4 channels."""

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

from training.crops import Crops
from training.run import DEMO, Checkpoint, arguments, as_pixels, rate, set_rate
from training.scenes import render, sample_scene

SCALING = 0.13025  # SDXL's own, so that the latents have the scale that SDXL's have
_KL = 1e-4
_ANCHOR, _ANCHOR_CHANNEL = 30.0, 3


def build_vae() -> AutoencoderKL:
    """The untrained autoencoder, 1.3 M parameters."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 5,
        up_block_types=("UpDecoderBlock2D",) * 5,
        block_out_channels=(16, 16, 32, 64, 80),
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


def loss_of(vae: AutoencoderKL, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The training loss and the mean absolute error of the pixels, in [0, 2]."""
    posterior = vae.encode(pixels).latent_dist
    restored = vae.decode(posterior.sample()).sample
    error = (restored - pixels).abs().mean()
    edges = sum((restored.diff(dim=axis) - pixels.diff(dim=axis)).abs().mean() for axis in (2, 3))
    divergence = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
    return error + F.mse_loss(restored, pixels) + edges + _KL * divergence, error


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


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and writes deployments/demo/model/vae."""
    options = arguments(__doc__ or "", steps=1600, batch=16).parse_args()
    torch.manual_seed(options.seed)
    device, checkpoint = options.device, Checkpoint("vae")
    vae = build_vae().to(device, memory_format=torch.channels_last)
    hold_anchor(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
    first = 0
    if not options.restart and (state := checkpoint.load(device)):
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    crops = Crops(options.seed)
    progress = trange(first, options.steps, initial=first, total=options.steps, desc="vae", mininterval=10)
    for step in progress:
        generator = np.random.default_rng((options.seed, step))
        pixels = as_pixels(crops.batch(options.batch, generator).to(device))
        set_rate(optimizer, rate(step, options.steps, 8e-4))
        loss, error = loss_of(vae, pixels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 0:
            progress.set_postfix(error=f"{error.item() / 2:.4f}")
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            checkpoint.save(vae=vae.state_dict(), optimizer=optimizer.state_dict(), step=step + 1)
    generator = np.random.default_rng((options.seed, 1 << 20))
    fresh = np.stack([render(sample_scene(generator), 256) for _ in range(64)])
    vae.eval()
    standardize(vae, as_pixels(torch.from_numpy(fresh).to(device)))
    vae.to("cpu", torch.float16).save_pretrained(DEMO / "model" / "vae")


if __name__ == "__main__":
    main()
