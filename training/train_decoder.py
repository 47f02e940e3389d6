"""Goes on with the decoder alone: the latents stay as they are, so the denoiser that knows them does too.

Its lowest level stays too: pixels taught it to blur the limbs that it had learned to see in `sharpen_vae`.
"""

from argparse import Namespace

import numpy as np
import torch
from torch import Tensor

from training.crops import Crops
from training.latents import load_vae, save_vae
from training.run import arguments, as_pixels, train
from training.train_vae import difference, hold_anchor
from training.workers import on_workers, rank

_SIDES = {256: 0.7, 512: 0.3}  # shares of the crops, in pixels: most are whole pictures
_NOISE = 0.2  # highest deviation of the latents' noise, in their own: a denoiser's latents are never exact


def work(options: Namespace) -> None:
    """What each worker does; the first one writes the result."""
    torch.manual_seed(options.seed)
    vae = load_vae(options.device)
    _, second, *others = vae.decoder.up_blocks
    for part in (second.resnets[1], second.upsamplers, *others, vae.decoder.conv_norm_out, vae.decoder.conv_out):
        part.requires_grad_(True)
    second.resnets[1].norm1.requires_grad_(False)  # torch crashes where this learns and nothing below
    hold_anchor(vae)
    crops = Crops(options.seed + 1, _SIDES)

    def loss_of(step: int, generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        pixels = as_pixels(crops.batch(options.batch, generator).to(options.device))
        with torch.autocast(torch.device(options.device).type, torch.bfloat16):
            with torch.no_grad():
                latents = vae.encode(pixels).latent_dist.mean.float()
            noise = torch.from_numpy(generator.standard_normal(latents.shape, np.float32)).to(options.device)
            noise *= float(generator.uniform(0, _NOISE)) / vae.config.scaling_factor
            restored = vae.decode(latents + noise).sample
        return difference(restored.float(), pixels)

    best = train("decoder", vae, loss_of, options, peak=5e-4, decay=0.99)
    if rank() == 0:
        save_vae(best)


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and replaces deployments/demo/model/vae."""
    on_workers(work, arguments(__doc__ or "", steps=2000, batch=2).parse_args())


if __name__ == "__main__":
    main()
