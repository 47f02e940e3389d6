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

from training.latents import encode
from training.run import DEMO, RUNS, arguments, as_pixels, train
from training.scenes import render, sample_scene
from training.train_vae import SHALLOW, WIDTHS, build_vae, hold_anchor
from training.workers import on_workers, rank

_LOWEST = 72
_COUNTS = {256: 3000, 512: 600}
_NOISE = 0.04  # deviation of the latents' noise, in their own deviations: a denoiser's latents are never exact


def deepened(shallow: AutoencoderKL) -> AutoencoderKL:
    """The shallow autoencoder with an untrained level below its lowest; all that it keeps is frozen."""
    deep = build_vae((*WIDTHS, _LOWEST))
    old, new = shallow.encoder, deep.encoder
    kept: list[tuple[nn.Module, nn.Module]] = [(old.conv_in, new.conv_in), (shallow.quant_conv, deep.quant_conv)]
    kept += zip(old.down_blocks[:-1], new.down_blocks[:-2], strict=True)
    kept += [(old.down_blocks[-1].resnets[0], new.down_blocks[-2].resnets[0])]
    old, new = shallow.decoder, deep.decoder
    kept += [(shallow.post_quant_conv, deep.post_quant_conv), (old.conv_norm_out, new.conv_norm_out)]
    kept += [(old.conv_out, new.conv_out), *zip(old.up_blocks[1:], new.up_blocks[2:], strict=True)]
    kept += [(old.up_blocks[0].resnets[1], new.up_blocks[1].resnets[1])]
    kept += [(old.up_blocks[0].upsamplers, new.up_blocks[1].upsamplers)]
    for theirs, mine in kept:
        mine.load_state_dict(theirs.state_dict())
        mine.requires_grad_(False)
    return deep


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
        features = self._above(self._sets[256][1][:200].float())
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

    @torch.no_grad()
    def _above(self, latents: Tensor) -> Tensor:
        """The shallow decoder's features at a sixteenth of the side, (b, 80, h / 16, w / 16)."""
        vae = self._shallow
        hidden = vae.decoder.mid_block(vae.decoder.conv_in(vae.post_quant_conv(latents / vae.config.scaling_factor)))
        result: Tensor = vae.decoder.up_blocks[0].resnets[0](hidden, None)
        return result

    def losses(self, deep: AutoencoderKL, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """How far the new level is from its aim, in deviations squared: in the encoder, in the decoder."""
        side = int(generator.choice(list(_COUNTS), p=[0.75, 0.25]))
        halves, wholes, features = self._sets[side]
        rows = torch.from_numpy(generator.integers(0, len(halves), self._batch * 256**2 // side**2))
        half, scale = halves[rows].float(), deep.config.scaling_factor
        noise = torch.from_numpy(generator.standard_normal(half.shape, np.float32)).to(half.device)
        hidden = deep.encoder.down_blocks[4].downsamplers[0](features[rows].float())
        hidden = deep.encoder.mid_block(deep.encoder.down_blocks[5](hidden))
        hidden = deep.encoder.conv_out(F.silu(deep.encoder.conv_norm_out(hidden)))
        encoded = deep.quant_conv(hidden)[:, :4] * scale
        hidden = deep.decoder.conv_in(deep.post_quant_conv((half + _NOISE * noise) / scale))
        hidden = deep.decoder.up_blocks[0](deep.decoder.mid_block(hidden))
        hidden = deep.decoder.up_blocks[1].resnets[0](hidden, None)
        aim = self._above(wholes[rows].float())
        return F.mse_loss(encoded, half), F.mse_loss(hidden / self._deviations, aim / self._deviations)


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
        best.to("cpu", torch.float16).save_pretrained(DEMO / "model" / "vae")


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and writes deployments/demo/model/vae."""
    on_workers(work, arguments(__doc__ or "", steps=2000, batch=64).parse_args())


if __name__ == "__main__":
    main()
