"""Trains the denoiser and both text encoders: first at 256 pixels, then at all three sizes in turn."""

from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

from training.captions import caption
from training.latents import Latents, load_latents, load_vae
from training.models import build_scheduler, build_text_encoders, build_unet
from training.run import DEMO, Average, Checkpoint, arguments, rate, set_rate
from training.text import TextEncoders, time_ids
from training.tokenizer import build_tokenizer, save_tokenizer

_ALONE = 0.6  # of the steps see 256 pixels only
_SIZES, _SHARES, _BATCHES = (256, 512, 1024), (0.6, 0.25, 0.15), (1.0, 0.2, 0.06)  # of steps, of the batch
_DROPPED = 0.12  # of the captions, half as no prompt and half as an empty one


class Sampler:
    """Draws training batches."""

    def __init__(self, seed: int, steps: int, batch: int, device: str) -> None:
        self._seed, self._steps, self._batch, self._device = seed, steps, batch, device
        self._sets: dict[int, Latents] = {}
        self._noise_kept = build_scheduler().alphas_cumprod

    def batch(self, step: int) -> tuple[Latents, np.ndarray, list[str | None], np.random.Generator]:
        """The set, the indices into it and the captions of one step; the same step always has the same batch."""
        generator = np.random.default_rng((self._seed, step))
        index = 0 if step < _ALONE * self._steps else int(generator.choice(len(_SIZES), p=_SHARES))
        side = _SIZES[index]
        if side not in self._sets:
            self._sets[side] = load_latents(side, self._seed, self._device)
        chosen = self._sets[side]
        indices = generator.integers(0, len(chosen.scenes), max(1, round(self._batch * _BATCHES[index])))
        captions = [dropped(caption(chosen.scenes[i], generator), generator) for i in indices]
        return chosen, indices, captions, generator


def dropped(text: str, generator: np.random.Generator) -> str | None:
    """The caption, or now and then none, so that guidance has something to lead away from."""
    draw = generator.random()
    return None if draw < _DROPPED / 2 else "" if draw < _DROPPED else text


def noised(latents: Tensor, kept: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Adds noise at evenly spread random timesteps.

    Args:
        latents: (b, 4, h, w) float32.
        kept: The schedule's cumulative alphas, (1000,).

    Returns:
        The noisy latents and the velocity to predict, both like `latents`, and the timesteps, (b,) int64.
    """
    count = len(latents)
    spread = (np.arange(count) + generator.random(count)) / count
    timesteps = torch.from_numpy((spread * len(kept)).astype(np.int64)).to(latents.device)
    noise = torch.from_numpy(generator.standard_normal(latents.shape, np.float32)).to(latents.device)
    signal = kept.to(latents.device)[timesteps, None, None, None]
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    return noisy, signal.sqrt() * noise - (1 - signal).sqrt() * latents, timesteps


def export(unet: nn.Module, text: TextEncoders, folder: Path) -> None:
    """Writes the pipeline's folder in half precision."""
    tokenizers = build_tokenizer(), build_tokenizer()
    pipeline = StableDiffusionXLPipeline(
        vae=load_vae("cpu"),
        text_encoder=text.first,
        text_encoder_2=text.second,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=unet,
        scheduler=build_scheduler(),
        add_watermarker=False,
    )
    pipeline.to("cpu", torch.float16).save_pretrained(folder)
    save_tokenizer(tokenizers[0], folder / "tokenizer")
    save_tokenizer(tokenizers[1], folder / "tokenizer_2")


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and writes deployments/demo/model."""
    options = arguments(__doc__ or "", steps=2200, batch=48).parse_args()
    torch.manual_seed(options.seed)
    device, checkpoint = options.device, Checkpoint("unet")
    tokenizer = build_tokenizer()
    text = TextEncoders(tokenizer, *build_text_encoders(tokenizer))
    model = nn.ModuleDict({"unet": build_unet().to(memory_format=torch.channels_last), "text": text}).to(device)
    average = Average(model, 0.997)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=1e-3)
    sampler = Sampler(options.seed, options.steps, options.batch, device)
    kept = build_scheduler().alphas_cumprod
    first = 0
    if not options.restart and (state := checkpoint.load(device)):
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    progress = trange(first, options.steps, initial=first, total=options.steps, desc="unet", mininterval=10)
    smooth = 0.0
    for step in progress:
        chosen, indices, captions, generator = sampler.batch(step)
        latents = chosen.latents[indices].float().to(device, memory_format=torch.channels_last)
        noisy, velocity, timesteps = noised(latents, kept, generator)
        set_rate(optimizer, rate(step, options.steps, 1.5e-3))
        hidden, pooled = model["text"](captions)
        sizes = {"text_embeds": pooled, "time_ids": time_ids(chosen.side_px, len(captions), device)}
        guess = model["unet"](noisy, timesteps, hidden, added_cond_kwargs=sizes).sample
        loss = F.mse_loss(guess, velocity)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        smooth = loss.item() if step == first else 0.98 * smooth + 0.02 * loss.item()
        if step % 10 == 0:
            progress.set_postfix(loss=f"{smooth:.4f}")
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            state = {"model": model.state_dict(), "average": average.module.state_dict()}
            checkpoint.save(**state, optimizer=optimizer.state_dict(), step=step + 1)
    export(average.module["unet"], average.module["text"], DEMO / "model")


if __name__ == "__main__":
    main()
