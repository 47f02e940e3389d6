"""Trains the ControlNet on people and their skeletons; everything else stays as it is."""

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from torch.nn import functional as F
from tqdm import trange

from training.captions import caption
from training.latents import Latents, load_latents
from training.models import build_controlnet
from training.run import DEMO, Average, Checkpoint, arguments, rate, set_rate
from training.skeletons import draw_skeleton
from training.text import TextEncoders, time_ids
from training.train_unet import dropped, noised

_SIZES, _SHARES, _BATCHES = (256, 512, 1024), (0.66, 0.24, 0.1), (1.0, 0.25, 0.08)  # of steps, of the batch
_COUNTS = {256: 4000, 512: 600, 1024: 120}
_JITTER = 0.004  # of the side: an estimator's keypoints are never exact


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and writes deployments/demo/controlnet."""
    options = arguments(__doc__ or "", steps=1500, batch=32).parse_args()
    torch.manual_seed(options.seed)
    device, checkpoint = options.device, Checkpoint("controlnet")
    pipeline = StableDiffusionXLPipeline.from_pretrained(DEMO / "model", dtype=torch.float32).to(device)
    unet = pipeline.unet.to(memory_format=torch.channels_last).requires_grad_(False).eval()
    text = TextEncoders(pipeline.tokenizer, pipeline.text_encoder, pipeline.text_encoder_2).requires_grad_(False).eval()
    kept = pipeline.scheduler.alphas_cumprod
    model = build_controlnet()
    own = model.state_dict()
    copied = {
        name: weight for name, weight in unet.state_dict().items() if name in own and weight.shape == own[name].shape
    }
    model.load_state_dict(copied, strict=False)
    model = model.to(device, memory_format=torch.channels_last)
    average = Average(model, 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=1e-3)
    first = 0
    if not options.restart and (state := checkpoint.load(device)):
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    sets: dict[int, Latents] = {}
    progress = trange(first, options.steps, initial=first, total=options.steps, desc="controlnet", mininterval=10)
    smooth = 0.0
    for step in progress:
        generator = np.random.default_rng((options.seed, step))
        index = int(generator.choice(len(_SIZES), p=_SHARES))
        side = _SIZES[index]
        if side not in sets:
            sets[side] = load_latents(side, options.seed + 1, device, _COUNTS[side], "person")
        chosen = sets[side]
        rows = generator.integers(0, len(chosen.scenes), max(1, round(options.batch * _BATCHES[index])))
        latents = chosen.latents[rows].float().to(device, memory_format=torch.channels_last)
        noisy, velocity, timesteps = noised(latents, kept, generator)
        poses = [chosen.scenes[i].keypoints() + generator.normal(0, _JITTER, (18, 2)) for i in rows]
        skeletons = torch.from_numpy(np.stack([draw_skeleton(pose, side) for pose in poses])).to(device)
        condition = (skeletons.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
        captions = [dropped(caption(chosen.scenes[i], generator), generator) for i in rows]
        set_rate(optimizer, rate(step, options.steps, 1e-3))
        with torch.no_grad():
            hidden, pooled = text(captions)
        sizes = {"text_embeds": pooled, "time_ids": time_ids(side, len(rows), device)}
        down, middle = model(noisy, timesteps, hidden, condition, added_cond_kwargs=sizes, return_dict=False)
        guess = unet(
            noisy,
            timesteps,
            hidden,
            added_cond_kwargs=sizes,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
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
    average.module.to("cpu", torch.float16).save_pretrained(DEMO / "controlnet")


if __name__ == "__main__":
    main()
