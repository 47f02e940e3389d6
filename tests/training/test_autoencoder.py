"""The autoencoder of 32x: what it takes over from the one of 16x, its sizes, and what its decoder is taught."""

from argparse import Namespace

import numpy as np
import torch
from torch import Tensor

from training.deepen_vae import above, below, deepened
from training.latents import Latents
from training.scenes import sample_scene
from training.sharpen_vae import Pairs
from training.train_vae import build_vae, hold_anchor


def test_a_deeper_autoencoder_keeps_all_levels_but_the_lowest() -> None:
    shallow = build_vae()
    deep = deepened(shallow)
    pixels = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        old, new = shallow.encoder.conv_in(pixels), deep.encoder.conv_in(pixels)
        for theirs, mine in zip(shallow.encoder.down_blocks[:4], deep.encoder.down_blocks[:4], strict=True):
            old, new = theirs(old), mine(new)
        assert torch.equal(old, new)
        latents = deep.encode(pixels).latent_dist.mean
        assert latents.shape == (1, 4, 4, 4)
        assert deep.decode(latents).sample.shape == pixels.shape
    learning = {name.split(".")[0] for name, weight in deep.named_parameters() if weight.requires_grad}
    assert learning == {"encoder", "decoder"}
    assert not deep.decoder.conv_out.weight.requires_grad


def test_both_decoders_go_on_from_the_same_features() -> None:
    torch.manual_seed(1)
    shallow = build_vae()
    deep, latents = deepened(shallow), torch.randn(1, 4, 8, 8)
    features = above(shallow, latents)
    assert below(deep, torch.randn(1, 4, 4, 4)).shape == features.shape
    with torch.no_grad():
        old, new = shallow.decoder.up_blocks, deep.decoder.up_blocks
        theirs = old[0].upsamplers[0](old[0].resnets[1](features, None))
        mine = new[1].upsamplers[0](new[1].resnets[1](features, None))
        for block in range(1, 5):
            theirs, mine = old[block](theirs), new[block + 1](mine)
        assert torch.equal(theirs, mine)


def test_the_decoders_lowest_level_learns_from_the_same_scenes_at_twice_the_side() -> None:
    torch.manual_seed(2)
    shallow = build_vae()
    deep = deepened(shallow)
    hold_anchor(deep)
    sets = {side: latents(side) for side in (256, 512, 1024)}
    pairs = Pairs(shallow, sets, Namespace(batch=8, device="cpu"))
    optimizer = torch.optim.AdamW([weight for weight in deep.decoder.parameters() if weight.requires_grad], 2e-3)
    losses = []
    for step in range(30):
        loss = pairs.loss(deep, np.random.default_rng(step))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def latents(side_px: int) -> Latents:
    """Of a few flat pictures, and of the same before an edit."""
    colors: Tensor = torch.randn(16, 4, 1, 1, generator=torch.Generator().manual_seed(3)).half()
    rows = colors.expand(-1, -1, side_px // 32, side_px // 32)
    generator = np.random.default_rng(3)
    return Latents(side_px, [sample_scene(generator) for _ in colors], rows, -rows)
