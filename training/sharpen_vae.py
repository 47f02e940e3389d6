"""Goes on with the decoder's lowest level, on the latents of the training set.

A set holds the same scenes at every size, and a latent of the picture twice as large is what the shallow autoencoder
gives for this one. So the level learns to see in a few latents what the shallow decoder sees in four times as many.
"""

from argparse import Namespace

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from training.deepen_vae import above, below, kept
from training.latents import Latents, load_latents, load_vae, save_vae
from training.run import arguments, train
from training.train_vae import SHALLOW, hold_anchor
from training.workers import on_workers, rank

_SIDES = {256: 0.9, 512: 0.1}  # shares of the steps
_PEOPLE = 2.5  # times as often as their share of the scenes: limbs are the thinnest parts
_NOISE = 0.2  # highest deviation of the latents' noise, in their own: a denoiser's latents are never exact


class Pairs:
    """Latents of the same scenes at one side and at twice the side, and what the decoder's lowest level makes of it."""

    def __init__(self, shallow: AutoencoderKL, sets: dict[int, Latents], options: Namespace) -> None:
        """`sets` by side in pixels."""
        self._shallow, self._batch, self._device = shallow, options.batch, options.device
        self._pairs: dict[int, list[tuple[Tensor, Tensor]]] = {}
        for side in _SIDES:
            one, two = sets[side], sets[2 * side]
            self._pairs[side] = [(one.latents, two.latents), (one.before, two.before)]
        # All sets begin with the same scenes.
        longest = max(sets.values(), key=lambda each: len(each.scenes))
        self._weights = np.array([_PEOPLE if scene.kind == "person" else 1.0 for scene in longest.scenes])
        features = above(shallow, sets[512].latents[:200].float().to(self._device))
        self._deviations = features.std((0, 2, 3), keepdim=True).clamp(min=0.05)

    def loss(self, deep: AutoencoderKL, generator: np.random.Generator) -> Tensor:
        """How far the level's features are from the shallow decoder's, in deviations squared."""
        side = int(generator.choice(list(_SIDES), p=list(_SIDES.values())))
        one, two = self._pairs[side][int(generator.random() < 0.2)]
        count = min(len(one), len(two))
        weights = self._weights[:count] / self._weights[:count].sum()
        rows = torch.from_numpy(generator.choice(count, self._batch * 256**2 // side**2, p=weights))
        latents = one[rows].float()
        noise = torch.from_numpy(generator.standard_normal(latents.shape, np.float32))
        noise *= torch.from_numpy(generator.uniform(0, _NOISE, (len(rows), 1, 1, 1)).astype(np.float32))
        aim = above(self._shallow, two[rows].float().to(self._device))
        found = below(deep, (latents + noise).to(self._device))
        return F.mse_loss(found / self._deviations, aim / self._deviations)


def work(options: Namespace) -> None:
    """What each worker does; the first one writes the result."""
    torch.manual_seed(options.seed)
    shallow = AutoencoderKL.from_pretrained(SHALLOW).to(options.device).requires_grad_(False).eval()
    sets = {side: load_latents(side, options.seed, "cpu") for side in (256, 512, 1024)}
    deep, pairs = load_vae(options.device), Pairs(shallow, sets, options)
    deep.decoder.requires_grad_(True)
    hold_anchor(deep)
    for theirs, mine in kept(shallow, deep):
        mine.load_state_dict(theirs.state_dict())
        mine.requires_grad_(False)

    def loss_of(step: int, generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        loss = pairs.loss(deep, generator)
        return loss, {"features": loss.item()}

    best = train("sharpen", deep, loss_of, options, peak=2e-3, decay=0.99)
    if rank() == 0:
        save_vae(best)


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and replaces deployments/demo/model/vae."""
    on_workers(work, arguments(__doc__ or "", steps=2000, batch=64).parse_args())


if __name__ == "__main__":
    main()
