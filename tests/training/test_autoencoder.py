"""The autoencoder of 32x: what it takes over from the one of 16x, and its sizes."""

import torch

from training.deepen_vae import deepened
from training.train_vae import build_vae


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
