"""Goes on with the decoder alone: the latents stay as they are, so the denoiser that knows them does too."""

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import trange

from training.crops import Crops
from training.latents import load_vae
from training.run import DEMO, Average, Checkpoint, arguments, as_pixels, rate, set_rate
from training.train_vae import hold_anchor

_NOISE = 0.06  # deviation of the latents' noise, in their own deviations: a denoiser's latents are never exact


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and replaces deployments/demo/model/vae."""
    options = arguments(__doc__ or "", steps=1500, batch=8).parse_args()
    torch.manual_seed(options.seed)
    device, checkpoint = options.device, Checkpoint("decoder")
    vae = load_vae(device)
    trained = [vae.decoder.requires_grad_(True), vae.post_quant_conv.requires_grad_(True)]
    hold_anchor(vae)
    optimizer = torch.optim.AdamW([p for part in trained for p in part.parameters()], betas=(0.9, 0.99), weight_decay=0)
    average = Average(vae, 0.99)
    first = 0
    if not options.restart and (state := checkpoint.load(device)):
        vae.load_state_dict(state["vae"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    crops = Crops(options.seed + 1)
    progress = trange(first, options.steps, initial=first, total=options.steps, desc="decoder", mininterval=10)
    for step in progress:
        generator = np.random.default_rng((options.seed, step))
        pixels = as_pixels(crops.batch(options.batch, generator).to(device))
        set_rate(optimizer, rate(step, options.steps, 8e-4))
        with torch.no_grad():
            latents = vae.encode(pixels).latent_dist.mean
        noise = torch.from_numpy(generator.standard_normal(latents.shape, np.float32)).to(device)
        restored = vae.decode(latents + _NOISE / vae.config.scaling_factor * noise).sample
        error = (restored - pixels).abs().mean()
        edges = sum((restored.diff(dim=axis) - pixels.diff(dim=axis)).abs().mean() for axis in (2, 3))
        loss = error + F.mse_loss(restored, pixels) + edges
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update(vae, step)
        if step % 10 == 0:
            progress.set_postfix(error=f"{error.item() / 2:.4f}")
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            state = {"vae": vae.state_dict(), "average": average.module.state_dict()}
            checkpoint.save(**state, optimizer=optimizer.state_dict(), step=step + 1)
    average.module.to("cpu", torch.float16).save_pretrained(DEMO / "model" / "vae")


if __name__ == "__main__":
    main()
