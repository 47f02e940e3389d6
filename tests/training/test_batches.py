"""What the denoiser is trained on: noise as diffusers adds it, and skeletons for the first rows only."""

from dataclasses import replace

import numpy as np
import torch
from diffusers import DDPMScheduler

from training.batches import SIDES, Batch, noised, timesteps_of
from training.models import build_scheduler
from training.train_unet import build, guess


def test_noise_and_velocity_are_those_of_diffusers() -> None:
    scheduler = DDPMScheduler.from_config(build_scheduler().config)
    timesteps = torch.tensor([0, 250, 600, 999])
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    noise = torch.from_numpy(np.random.default_rng(2).standard_normal((4, 4, 8, 8), np.float32))
    noisy, velocity = noised(latents, latents, scheduler.alphas_cumprod, timesteps, np.random.default_rng(2))
    assert torch.allclose(noisy, scheduler.add_noise(latents, noise, timesteps), atol=1e-5)
    assert torch.allclose(velocity, scheduler.get_velocity(latents, noise, timesteps), atol=1e-4)


def test_the_velocity_of_an_edit_leads_from_the_old_picture_to_the_new_one() -> None:
    kept = build_scheduler().alphas_cumprod
    timesteps = torch.tensor([300, 600])
    old, new = torch.zeros(2, 4, 8, 8), torch.ones(2, 4, 8, 8)
    noisy, velocity = noised(new, old, kept, timesteps, np.random.default_rng(2))
    signal = kept[timesteps].view(2, 1, 1, 1)
    assert torch.allclose(signal.sqrt() * noisy - (1 - signal).sqrt() * velocity, new, atol=1e-5)


def test_larger_pictures_are_trained_at_noisier_steps() -> None:
    drawn = [timesteps_of(side, 500, np.random.default_rng(3)).float() for side in SIDES]
    assert all(each.min() >= 0 and each.max() <= 999 for each in drawn)
    assert drawn[0].median() < drawn[1].median() < drawn[2].median()


def test_a_skeleton_acts_on_its_own_rows_only() -> None:
    torch.manual_seed(4)
    model = build()
    for parameter in model["controlnet"].parameters():  # its output layers begin at zero, where nothing would be seen
        torch.nn.init.normal_(parameter, std=0.05)
    latents = torch.randn(4, 4, 8, 8)
    skeletons = torch.rand(1, 3, 256, 256)
    batch = Batch(256, ["a red person", "a star"], latents, latents, torch.full((4,), 500), skeletons)
    with torch.no_grad():
        posed, free = guess(model, batch), guess(model, replace(batch, skeletons=skeletons[:0]))
    assert not torch.allclose(posed[:2], free[:2], atol=1e-3)
    assert torch.allclose(posed[2:], free[2:], atol=1e-5)
