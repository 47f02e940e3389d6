"""Goes on with the denoiser and the ControlNet together: in turn all scenes, and people with skeletons."""

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

from training.captions import caption
from training.latents import Latents, load_latents
from training.models import build_controlnet
from training.run import DEMO, Average, Checkpoint, arguments, rate, set_rate
from training.skeletons import draw_skeleton
from training.text import TextEncoders, time_ids
from training.train_unet import dropped, export, noised

_SIZES, _SHARES, _BATCHES = (256, 512, 1024), (0.8, 0.12, 0.08), (1.0, 0.25, 0.08)  # of steps, of the batch
_JITTER = 0.004  # of the side: an estimator's keypoints are never exact


class Rows:
    """Draws training batches: of all scenes, or of people only."""

    def __init__(self, seed: int, device: str) -> None:
        self._seed, self._device = seed, device
        self._sets: dict[int, Latents] = {}
        self._people: dict[int, np.ndarray] = {}

    def draw(self, count: int, people: bool, generator: np.random.Generator) -> tuple[Latents, np.ndarray]:
        """A set, and the numbers of some of its scenes, about `count` where they are small."""
        index = int(generator.choice(len(_SIZES), p=_SHARES))
        side = _SIZES[index]
        if side not in self._sets:
            self._sets[side] = load_latents(side, self._seed, self._device)
            kinds = [scene.kind for scene in self._sets[side].scenes]
            self._people[side] = np.flatnonzero(np.array(kinds) == "person")
        chosen = self._sets[side]
        rows = self._people[side] if people else np.arange(len(chosen.scenes))
        return chosen, generator.choice(rows, max(1, round(count * _BATCHES[index])))


def skeletons_of(chosen: Latents, rows: np.ndarray, generator: np.random.Generator, device: str) -> Tensor:
    """The skeletons of people, (b, 3, side, side) float32 in [0, 1]."""
    poses = [chosen.scenes[row].keypoints() + generator.normal(0, _JITTER, (18, 2)) for row in rows]
    drawn = torch.from_numpy(np.stack([draw_skeleton(pose, chosen.side_px) for pose in poses])).to(device)
    return (drawn.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


def loss_of(
    model: nn.ModuleDict, chosen: Latents, rows: np.ndarray, people: bool, kept: Tensor, generator: np.random.Generator
) -> Tensor:
    """The loss of one step."""
    device = str(kept.device)
    latents = chosen.latents[rows].float().to(device, memory_format=torch.channels_last)
    noisy, velocity, timesteps = noised(latents, kept, generator)
    hidden, pooled = model["text"]([dropped(caption(chosen.scenes[row], generator), generator) for row in rows])
    sizes = {"text_embeds": pooled, "time_ids": time_ids(chosen.side_px, len(rows), device)}
    extra = {}
    if people:
        skeletons = skeletons_of(chosen, rows, generator, device)
        down, middle = model["controlnet"](
            noisy, timesteps, hidden, skeletons, added_cond_kwargs=sizes, return_dict=False
        )
        extra = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    guess = model["unet"](noisy, timesteps, hidden, added_cond_kwargs=sizes, **extra).sample
    return F.mse_loss(guess, velocity)


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and replaces deployments/demo/model and /controlnet."""
    options = arguments(__doc__ or "", steps=2000, batch=32).parse_args()
    torch.manual_seed(options.seed)
    device, checkpoint = options.device, Checkpoint("together")
    pipeline = StableDiffusionXLPipeline.from_pretrained(DEMO / "model", torch_dtype=torch.float32)
    text = TextEncoders(pipeline.tokenizer, pipeline.text_encoder, pipeline.text_encoder_2)
    controlnet, own = build_controlnet(), build_controlnet().state_dict()
    weights = pipeline.unet.state_dict()
    same = {name: weight for name, weight in weights.items() if name in own and weight.shape == own[name].shape}
    controlnet.load_state_dict(same, strict=False)
    unet, controlnet = (part.to(memory_format=torch.channels_last) for part in (pipeline.unet, controlnet))
    model = nn.ModuleDict({"unet": unet, "text": text, "controlnet": controlnet}).to(device).train()
    average = Average(model, 0.996)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=1e-3)
    first = 0
    if not options.restart and (state := checkpoint.load(device)):
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    batches = Rows(options.seed, device)
    kept = pipeline.scheduler.alphas_cumprod.to(device)
    progress = trange(first, options.steps, initial=first, total=options.steps, desc="together", mininterval=10)
    smooth = [0.0, 0.0]
    for step in progress:
        generator = np.random.default_rng((options.seed, 1, step))
        people = step % 2 == 1
        chosen, rows = batches.draw(options.batch, people, generator)
        set_rate(optimizer, rate(step, options.steps, 1.2e-3))
        loss = loss_of(model, chosen, rows, people, kept, generator)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        share = 0.02 if step > first + 20 else 0.5
        smooth[people] += share * (loss.item() - smooth[people])
        if step % 10 == 0:
            progress.set_postfix(scenes=f"{smooth[0]:.4f}", poses=f"{smooth[1]:.4f}")
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            state = {"model": model.state_dict(), "average": average.module.state_dict()}
            checkpoint.save(**state, optimizer=optimizer.state_dict(), step=step + 1)
    export(average.module["unet"], average.module["text"], DEMO / "model")
    average.module["controlnet"].to("cpu", torch.float16).save_pretrained(DEMO / "controlnet")


if __name__ == "__main__":
    main()
