"""Makes the autoencoder of 16x one of 32x: a latent is what the shallow one gives for the picture at half its side.

So a denoiser knows both, and only the new lowest level has to learn, on latents and features instead of pixels.
"""

from argparse import Namespace

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

from training.latents import encode, save_vae
from training.run import RUNS, arguments, as_pixels, train
from training.scenes import render, sample_scene
from training.train_vae import SHALLOW, WIDTHS, build_vae, hold_anchor
from training.workers import on_workers, rank

_LOWEST = 72
_COUNTS = {256: 3000, 512: 600}
_NOISE = 0.04  # deviation of the latents' noise, in their own deviations: a denoiser's latents are never exact


def kept(shallow: AutoencoderKL, deep: AutoencoderKL) -> list[tuple[nn.Module, nn.Module]]:
    """The parts that both have: each of the shallow autoencoder's with the deep one's."""
    old, new = shallow.encoder, deep.encoder
    pairs: list[tuple[nn.Module, nn.Module]] = [(old.conv_in, new.conv_in), (shallow.quant_conv, deep.quant_conv)]
    pairs += zip(old.down_blocks[:-1], new.down_blocks[:-2], strict=True)
    pairs += [(old.down_blocks[-1].resnets[0], new.down_blocks[-2].resnets[0])]
    old, new = shallow.decoder, deep.decoder
    pairs += [(shallow.post_quant_conv, deep.post_quant_conv), (old.conv_norm_out, new.conv_norm_out)]
    pairs += [(old.conv_out, new.conv_out), *zip(old.up_blocks[1:], new.up_blocks[2:], strict=True)]
    pairs += [(old.up_blocks[0].resnets[1], new.up_blocks[1].resnets[1])]
    pairs += [(old.up_blocks[0].upsamplers, new.up_blocks[1].upsamplers)]
    return pairs


def deepened(shallow: AutoencoderKL) -> AutoencoderKL:
    """The shallow autoencoder with an untrained level below its lowest; all that it keeps is frozen."""
    deep = build_vae((*WIDTHS, _LOWEST))
    for theirs, mine in kept(shallow, deep):
        mine.load_state_dict(theirs.state_dict())
        mine.requires_grad_(False)
    return deep


@torch.no_grad()
def above(shallow: AutoencoderKL, latents: Tensor) -> Tensor:
    """The shallow decoder's features at a sixteenth of the side, (b, 80, h / 16, w / 16)."""
    hidden = shallow.decoder.conv_in(shallow.post_quant_conv(latents / shallow.config.scaling_factor))
    result: Tensor = shallow.decoder.up_blocks[0].resnets[0](shallow.decoder.mid_block(hidden), None)
    return result


def below(deep: AutoencoderKL, latents: Tensor) -> Tensor:
    """The deep decoder's features at the same place, from latents of half the width and height."""
    hidden = deep.decoder.conv_in(deep.post_quant_conv(latents / deep.config.scaling_factor))
    hidden = deep.decoder.up_blocks[0](deep.decoder.mid_block(hidden))
    result: Tensor = deep.decoder.up_blocks[1].resnets[0](hidden, None)
    return result


class Lessons:
    """What the new level learns from: for each side the half picture's latents, the whole one's, and features."""

    def __init__(self, shallow: AutoencoderKL, options: Namespace) -> None:
        self._shallow, self._batch, seed = shallow, options.batch, options.seed
        self._sets: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        for side, count in _COUNTS.items():
            path = RUNS / f"lessons_{side}_{seed}_{count}.pt"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.save(self._made(side, count, np.random.default_rng((seed, side, 1))), path)
            self._sets[side] = torch.load(path, weights_only=True, map_location=options.device)
        features = above(shallow, self._sets[256][1][:200].float())
        self._deviations = features.std((0, 2, 3), keepdim=True).clamp(min=0.05)

    @torch.no_grad()
    def _made(self, side: int, count: int, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        halves, wholes, features = [], [], []
        for _ in trange(0, count, 20, desc=f"lessons {side} px", mininterval=10):
            scenes = [sample_scene(generator) for _ in range(20)]
            pictures = np.stack([render(scene, side) for scene in scenes])
            pixels = as_pixels(torch.from_numpy(pictures).to(self._shallow.device))
            halves.append(encode(self._shallow, np.stack([render(scene, side // 2) for scene in scenes])).half().cpu())
            wholes.append(encode(self._shallow, pictures).half().cpu())
            features.append(self._below(pixels).half().cpu())
        return torch.cat(halves), torch.cat(wholes), torch.cat(features)

    def _below(self, pixels: Tensor) -> Tensor:
        """The encoder's features at a sixteenth of the side, (b, 80, h / 16, w / 16)."""
        hidden = self._shallow.encoder.conv_in(pixels)
        for block in self._shallow.encoder.down_blocks[:4]:
            hidden = block(hidden)
        result: Tensor = self._shallow.encoder.down_blocks[4].resnets[0](hidden, None)
        return result

    def losses(self, deep: AutoencoderKL, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """How far the new level is from its aim, in deviations squared: in the encoder, in the decoder."""
        side = int(generator.choice(list(_COUNTS), p=[0.75, 0.25]))
        halves, wholes, features = self._sets[side]
        rows = torch.from_numpy(generator.integers(0, len(halves), self._batch * 256**2 // side**2))
        half = halves[rows].float()
        noise = torch.from_numpy(generator.standard_normal(half.shape, np.float32)).to(half.device)
        hidden = deep.encoder.down_blocks[4].downsamplers[0](features[rows].float())
        hidden = deep.encoder.mid_block(deep.encoder.down_blocks[5](hidden))
        hidden = deep.encoder.conv_out(F.silu(deep.encoder.conv_norm_out(hidden)))
        encoded = deep.quant_conv(hidden)[:, :4] * deep.config.scaling_factor
        decoded = below(deep, half + _NOISE * noise) / self._deviations
        aim = above(self._shallow, wholes[rows].float()) / self._deviations
        return F.mse_loss(encoded, half), F.mse_loss(decoded, aim)


def work(options: Namespace) -> None:
    """What each worker does; the first one writes the result."""
    torch.manual_seed(options.seed)
    shallow = AutoencoderKL.from_pretrained(SHALLOW).to(options.device).requires_grad_(False).eval()
    deep, lessons = deepened(shallow).to(options.device), Lessons(shallow, options)
    hold_anchor(deep)

    def loss_of(step: int, generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        encoded, decoded = lessons.losses(deep, generator)
        return encoded + decoded, {"encoder": encoded.item(), "decoder": decoded.item()}

    best = train("deepen", deep, loss_of, options, peak=2e-3, decay=0.99)
    if rank() == 0:
        save_vae(best)


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and writes deployments/demo/model/vae."""
    on_workers(work, arguments(__doc__ or "", steps=2000, batch=64).parse_args())


if __name__ == "__main__":
    main()
