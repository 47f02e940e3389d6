"""Trains the denoiser, both text encoders and the ControlNet together, at all three sizes."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from training.batches import SIDES, Batch, Batches
from training.latents import load_vae
from training.models import build_controlnet, build_scheduler, build_text_encoders, build_unet
from training.run import DEMO, arguments, train
from training.text import TextEncoders, time_ids
from training.tokenizer import build_tokenizer, save_tokenizer
from training.workers import on_workers, rank


def build() -> nn.ModuleDict:
    """All untrained parts: `unet`, `text` and `controlnet`."""
    tokenizer = build_tokenizer()
    text = TextEncoders(tokenizer, *build_text_encoders(tokenizer))
    return _laid_out({"unet": build_unet(), "text": text, "controlnet": build_controlnet()})


def shipped(folder: Path = DEMO) -> nn.ModuleDict:
    """All parts as they are in the repository, to go on from."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder / "model", dtype=torch.float32)
    text = TextEncoders(pipeline.tokenizer, pipeline.text_encoder, pipeline.text_encoder_2)
    controlnet = ControlNetModel.from_pretrained(folder / "controlnet", dtype=torch.float32)
    for part in (pipeline.unet, controlnet):
        part.register_to_config(_name_or_path="")  # or the folder's place on this machine would be saved with it
    return _laid_out({"unet": pipeline.unet, "text": text, "controlnet": controlnet}).train()


def _laid_out(parts: dict[str, nn.Module]) -> nn.ModuleDict:
    for part in parts.values():
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts["controlnet"].get_submodule("controlnet_cond_embedding").register_forward_hook(_for_pairs)
    return nn.ModuleDict(parts)


def _for_pairs(_module: nn.Module, _inputs: tuple[Tensor, ...], features: Tensor) -> Tensor:
    """A skeleton's features, for both rows of its caption."""
    return features.repeat_interleave(2, 0)


def guess(model: nn.ModuleDict, batch: Batch) -> Tensor:
    """The velocity that the model sees in a batch, like `batch.velocity`."""
    hidden, pooled = (part.repeat_interleave(2, 0) for part in model["text"](batch.captions))
    sizes = {"text_embeds": pooled, "time_ids": time_ids(batch.side_px, len(batch.noisy), str(batch.noisy.device))}
    extra = {}
    posed = 2 * len(batch.skeletons)
    if posed:
        down, middle = model["controlnet"](
            batch.noisy[:posed],
            batch.timesteps[:posed],
            hidden[:posed],
            batch.skeletons,
            added_cond_kwargs={name: value[:posed] for name, value in sizes.items()},
            return_dict=False,
        )
        free = len(batch.noisy) - posed
        padded = [F.pad(part, (0, 0, 0, 0, 0, 0, 0, free)) for part in (*down, middle)]
        extra = {"down_block_additional_residuals": padded[:-1], "mid_block_additional_residual": padded[-1]}
    unet: UNet2DConditionModel = model["unet"]
    result: Tensor = unet(batch.noisy, batch.timesteps, hidden, added_cond_kwargs=sizes, **extra).sample
    return result


def export(model: nn.ModuleDict, folder: Path = DEMO) -> None:
    """Writes the pipeline's folder and the ControlNet's, in half precision."""
    tokenizers = build_tokenizer(), build_tokenizer()
    pipeline = StableDiffusionXLPipeline(
        vae=load_vae("cpu"),
        text_encoder=model["text"].first,
        text_encoder_2=model["text"].second,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=model["unet"],
        scheduler=build_scheduler(),
        add_watermarker=False,
    )
    pipeline.to("cpu", torch.float16).save_pretrained(folder / "model")
    save_tokenizer(tokenizers[0], folder / "model" / "tokenizer")
    save_tokenizer(tokenizers[1], folder / "model" / "tokenizer_2")
    controlnet: ControlNetModel = model["controlnet"]
    controlnet.to("cpu", torch.float16).save_pretrained(folder / "controlnet")


def work(options: Namespace) -> None:
    """What each worker does; the first one writes the result."""
    torch.manual_seed(options.seed)
    model = (shipped() if options.shipped else build()).to(options.device)
    batches = Batches(options.seed, options.batch, options.device, tuple(options.sizes))
    smooth = {"scenes": 0.0, "poses": 0.0}

    def loss_of(step: int, generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        posed = (step + 2 * rank()) % 4 == 0
        batch = batches.draw(step, posed, generator)
        loss = F.mse_loss(guess(model, batch), batch.velocity)
        what = "poses" if posed else "scenes"
        smooth[what] += 0.02 * (loss.item() - smooth[what]) if smooth[what] else loss.item()
        return loss, smooth

    best = train("unet", model, loss_of, options, peak=options.peak, decay=0.998)
    if rank() == 0:
        export(best)


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and writes deployments/demo/model and /controlnet."""
    parser = arguments(__doc__ or "", steps=7800, batch=24)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIDES), help="in pixels (all three)")
    parser.add_argument("--shipped", action="store_true", help="begin with the weights in deployments/demo")
    parser.add_argument("--peak", type=float, default=1.2e-3, help="highest learning rate (default %(default)s)")
    on_workers(work, parser.parse_args())


if __name__ == "__main__":
    main()
