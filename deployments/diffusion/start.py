"""A job's first latents and its conditioning: all that diffusers' pipelines do before their loops."""

from __future__ import annotations

import copy

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from deployments.diffusion.components import Components
from deployments.diffusion.prompts import Embedding, Prompt, PromptEncoder
from deployments.diffusion.trajectory import Conditioning, Kept, Shape, Trajectory, noised
from deployments.diffusion.transfer import to_device
from deployments.errors import JobError
from deployments.jobs import ImageEditJob, Job, Pixels, PoseControlJob
from deployments.schedulers import SCHEDULERS


def plan(job: Job, components: Components, prompts: PromptEncoder) -> Trajectory:
    """Checks `job` and sets up its schedule. Cheap; it touches no device.

    Raises:
        JobError: the job can't be done by this checkpoint as ordered.
    """
    prompt = prompts.tokenize(job.prompt, "prompt")
    # The loop of the pipelines: no second row where guidance is off or built into the UNet.
    guided = job.guidance_scale > 1 and components.unet.config.time_cond_proj_dim is None
    negative = prompts.tokenize(job.negative_prompt, "negative_prompt") if guided else None
    scale = components.latent_scale
    if job.render_width_px % scale or job.render_height_px % scale:
        raise JobError(
            f"size must be in multiples of {scale}; got {job.render_width_px}x{job.render_height_px}.", "size"
        )
    if isinstance(job, PoseControlJob) and (components.controlnet is None or job.skeleton is None):
        raise JobError("this model draws no poses.", "model")
    if job.scheduler not in SCHEDULERS:
        raise JobError(f"scheduler must be one of {', '.join(SCHEDULERS)}; got {job.scheduler!r}.", "scheduler")
    scheduler = components.scheduler(job.scheduler)
    try:
        scheduler.set_timesteps(job.steps, device="cpu")
    except ValueError as error:  # such as more steps than an LCM schedule has
        raise JobError(f"steps: {error}", "steps") from error
    timesteps = scheduler.timesteps
    if isinstance(job, ImageEditJob):
        pipeline = copy.copy(components.image_to_image)
        pipeline.scheduler = scheduler
        timesteps, _ = pipeline.get_timesteps(job.steps, job.strength, "cpu")
        if len(timesteps) == 0:
            raise JobError(f"strength {job.strength} of {job.steps} steps leaves no step to draw.", "strength")
    elif hasattr(scheduler, "set_begin_index") and not isinstance(job, PoseControlJob):
        scheduler.set_begin_index(0)
    chunks = max(prompt.chunks, negative.chunks if negative else 1)
    shape = Shape(job.render_height_px // scale, job.render_width_px // scale, chunks)
    return Trajectory(job, prompt, negative, scheduler, timesteps, shape, guided)


def embed(trajectories: list[Trajectory], components: Components, prompts: PromptEncoder) -> list[list[Embedding]]:
    """For each trajectory the embeddings of its UNet rows of one picture: the unconditional one first, where guided."""
    wanted = [each for trajectory in trajectories for each in _wanted(trajectory)]
    found = dict(zip(wanted, prompts.encode(wanted), strict=True))
    force_zeros = components.text_to_image.config.force_zeros_for_empty_prompt
    embeddings = []
    for trajectory in trajectories:
        rows = [found[each] for each in _wanted(trajectory)]
        if trajectory.guided and not trajectory.job.negative_prompt and force_zeros:
            rows[0] = rows[-1].zeros()
        embeddings.append(rows)
    return embeddings


def _wanted(trajectory: Trajectory) -> list[tuple[Prompt, int]]:
    texts = (trajectory.negative, trajectory.prompt)
    return [(text, trajectory.shape.chunks) for text in texts if text is not None]


def begin(trajectory: Trajectory, rows: list[Embedding], components: Components) -> None:
    """Draws the trajectory's first noise and gathers its conditioning."""
    job = trajectory.job
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in job.seeds]
    kept = None
    if isinstance(job, ImageEditJob):
        latents, kept = _from_picture(trajectory, job, generators, components)
    else:
        latents = _noise(trajectory, generators, components) * trajectory.scheduler.init_noise_sigma
    trajectory.begin(latents, _conditioning(trajectory, rows, components), generators, kept)


def _noise(trajectory: Trajectory, generators: list[torch.Generator], components: Components) -> torch.Tensor:
    """(pictures, channels, height, width) float32. Always float32: the same picture on every device and dtype."""
    channels = components.unet.config.in_channels
    shape = (len(generators), channels, trajectory.shape.height, trajectory.shape.width)
    noise = randn_tensor(shape, generator=generators, dtype=torch.float32)
    return to_device(noise, components.device)


def _from_picture(
    trajectory: Trajectory, job: ImageEditJob, generators: list[torch.Generator], components: Components
) -> tuple[torch.Tensor, Kept | None]:
    """img2img's start; with a mask, inpainting's. The order of the draws is that of the pipelines."""
    drawn = _encode(job.image, generators, components)
    noise = _noise(trajectory, generators, components)
    scheduler = trajectory.scheduler
    if job.mask is not None and job.strength == 1:
        latents = noise * scheduler.init_noise_sigma
    else:
        latents = noised(scheduler, drawn, noise, trajectory.timesteps[:1])
    if job.mask is None:
        return latents, None
    for generator in generators:  # the inpainting pipeline encodes the masked picture too, though only a 9-channel
        torch.randn(drawn.shape[1:], generator=generator)  # UNet reads it; the scheduler's noise comes after that draw
    mask = components.inpaint.mask_processor.preprocess(Image.fromarray(job.mask))
    size = (trajectory.shape.height, trajectory.shape.width)
    mask = to_device(torch.nn.functional.interpolate(mask, size=size), components.device, torch.float32)
    return latents, Kept(drawn, noise, mask)


def _encode(picture: Pixels, generators: list[torch.Generator], components: Components) -> torch.Tensor:
    """(pictures, channels, height, width) float32: one sample of the VAE's distribution for each generator."""
    vae = components.vae
    pixels = components.image_to_image.image_processor.preprocess(Image.fromarray(picture))
    moments = vae.encode(to_device(pixels, components.device, vae.dtype)).latent_dist.parameters.float()
    distribution = DiagonalGaussianDistribution(moments)
    sample = torch.cat([distribution.sample(generator) for generator in generators])
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is not None and std is not None:
        sample = (sample - sample.new_tensor(mean).view(1, -1, 1, 1)) / sample.new_tensor(std).view(1, -1, 1, 1)
    return sample * float(vae.config.scaling_factor)


def _conditioning(trajectory: Trajectory, rows: list[Embedding], components: Components) -> Conditioning:
    job, pictures = trajectory.job, len(trajectory.job.seeds)
    dtype, device = components.unet.dtype, components.device
    size = (job.render_height_px, job.render_width_px)
    time_ids = components.text_to_image._get_add_time_ids(
        size, (0, 0), size, dtype, components.text_to_image.text_encoder_2.config.projection_dim
    )
    guidance = pose = None
    if components.unet.config.time_cond_proj_dim is not None:
        scale = torch.tensor([job.guidance_scale - 1]).repeat(trajectory.rows)
        embedding = components.text_to_image.get_guidance_scale_embedding(
            scale, embedding_dim=components.unet.config.time_cond_proj_dim
        )
        guidance = to_device(embedding, device, dtype)
    if isinstance(job, PoseControlJob):
        pose = _pose(job, components).expand(trajectory.rows, -1, -1, -1)
    return Conditioning(
        prompt=torch.cat([row.sequence.expand(pictures, -1, -1) for row in rows]).to(dtype),
        pooled=torch.cat([row.pooled.expand(pictures, -1) for row in rows]).to(dtype),
        time_ids=to_device(time_ids, device).expand(trajectory.rows, -1),
        guidance=guidance,
        pose=pose,
    )


def _pose(job: PoseControlJob, components: Components) -> torch.Tensor:
    assert job.skeleton is not None  # `plan` has looked
    image: torch.Tensor = components.pose_control.prepare_image(
        Image.fromarray(job.skeleton),
        job.render_width_px,
        job.render_height_px,
        batch_size=1,
        num_images_per_prompt=1,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    return to_device(image, components.device, components.controlnet.dtype)
