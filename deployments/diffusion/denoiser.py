"""One forward pass for the rows of several trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import torch

from deployments.config import EngineConfig
from deployments.diffusion.acceleration.row_buckets import GPU_BUCKETS, passes
from deployments.diffusion.components import Components
from deployments.diffusion.trajectory import Trajectory
from deployments.diffusion.transfer import to_device
from deployments.engine_stats import EngineStats


@dataclass(frozen=True)
class Rows:
    """The UNet's input, one row a sample; on the device, in the UNet's dtype."""

    latents: torch.Tensor
    timesteps: torch.Tensor
    """(rows,) float32: each row has its own."""
    prompt: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor
    guidance: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.latents)

    def map(self, function: Any) -> Rows:
        """Applies `function` to every tensor."""
        values: dict[str, Any] = {
            name: value if value is None else function(value) for name, value in vars(self).items()
        }
        return Rows(**values)


class Denoiser:
    """The UNet and the ControlNet, called for rows that share nothing but their shape."""

    def __init__(self, components: Components, config: EngineConfig, stats: EngineStats) -> None:
        """Counts padded rows and shapes that were not rehearsed in `stats`."""
        self._components = components
        self._stats = stats
        self._replays = config.cuda_graphs
        self.buckets = bucket_sizes(components, config)
        self.pass_seconds: dict[tuple[int, int], dict[int, float]] = {}
        """What a pass of each bucket takes, by the height and width of the latents; the warm-up measures it."""
        self._known: set[tuple[int, ...]] = set()
        """Shapes that have run, as `_count` writes them."""

    def predict(self, trajectories: Sequence[Trajectory], rows_per_pass: int) -> list[torch.Tensor]:
        """The UNet's output for each trajectory: (rows, channels, height, width) float32.

        Args:
            trajectories: All of one shape.
            rows_per_pass: More rows than this are cut into several passes; rows are independent of each other.
        """
        rows, controls = self._gather(trajectories)
        height, width = rows.latents.shape[-2:]
        outputs = []
        start = 0
        for count, padded in passes(len(rows), rows_per_pass, self.buckets, self.pass_seconds.get((height, width))):
            part = slice(start, start + count)
            output = self._forward(rows.map(itemgetter(part)), controls[part], padded)
            outputs.append(output.to(torch.float32, copy=True))  # the next replay of a CUDA graph overwrites its output
            self._stats.padded_rows += padded - count
            start += count
        return list(torch.split(torch.cat(outputs), [each.rows for each in trajectories]))

    def rehearse(self, rows: int, height: int, width: int, posed: bool = False) -> None:
        """Runs a pass of zeros with latents of `height` x `width`, with the ControlNet if `posed`."""
        components = self._components
        config, dtype, device = components.unet.config, components.unet.dtype, components.device
        tokens = components.text_to_image.tokenizer.model_max_length
        pooled = components.text_to_image.text_encoder_2.config.projection_dim
        conditional = config.time_cond_proj_dim
        zeros = partial(torch.zeros, dtype=dtype, device=device)
        input_rows = Rows(
            latents=zeros(rows, config.in_channels, height, width),
            timesteps=torch.zeros(rows, device=device),
            prompt=zeros(rows, tokens, config.cross_attention_dim),
            pooled=zeros(rows, pooled),
            time_ids=zeros(rows, 6),
            guidance=zeros(rows, conditional) if conditional is not None else None,
        )
        scale = components.latent_scale
        control = _Control(1.0, zeros(3, height * scale, width * scale)) if posed else None
        unrehearsed = self._stats.unrehearsed
        self._forward(input_rows, [control] * rows, rows)
        self._stats.unrehearsed = unrehearsed

    def _gather(self, trajectories: Sequence[Trajectory]) -> tuple[Rows, list[_Control | None]]:
        dtype = self._components.unet.dtype
        conditionings = [each.conditioning for each in trajectories]
        timesteps = [float(each.timesteps[each.step_index]) for each in trajectories for _ in range(each.rows)]
        guidance = [each.guidance for each in conditionings if each.guidance is not None]
        rows = Rows(
            # Edits come channels last from such a VAE; a graph that was compiled for the other layout would not do.
            latents=torch.cat([each.model_input() for each in trajectories]).to(dtype).contiguous(),
            timesteps=to_device(torch.tensor(timesteps, dtype=torch.float32), self._components.device),
            prompt=torch.cat([each.prompt for each in conditionings]),
            pooled=torch.cat([each.pooled for each in conditionings]),
            time_ids=torch.cat([each.time_ids for each in conditionings]),
            guidance=torch.cat(guidance) if guidance else None,
        )
        controls: list[_Control | None] = []
        for each in trajectories:
            scale, pose = each.control_scale(), each.conditioning.pose
            controls += [_Control(scale, image) for image in pose] if scale and pose is not None else [None] * each.rows
        return rows, controls

    def _forward(self, rows: Rows, controls: Sequence[_Control | None], padded_to: int) -> torch.Tensor:
        wanted = len(rows)
        padded = rows.map(lambda t: _pad(t, padded_to))
        if self._replays:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        residuals = self._residuals(rows, controls, padded_to) if any(controls) else {}
        self._count(0, padded, posed=bool(residuals))
        output: torch.Tensor = self._components.unet(
            padded.latents,
            padded.timesteps,
            encoder_hidden_states=padded.prompt,
            timestep_cond=padded.guidance,
            added_cond_kwargs={"text_embeds": padded.pooled, "time_ids": padded.time_ids},
            return_dict=False,
            **residuals,
        )[0]
        return output[:wanted]

    def _residuals(self, rows: Rows, controls: Sequence[_Control | None], padded_rows: int) -> dict[str, Any]:
        """What the ControlNet adds to the UNet: nothing to rows without a pose, which it never sees."""
        chosen = [(row, control) for row, control in enumerate(controls) if control]
        where = to_device(torch.tensor([row for row, _ in chosen]), self._components.device)
        bucket = next((bucket for bucket in self.buckets if bucket >= len(chosen)), len(chosen))
        posed = rows.map(lambda t: _pad(t[where], bucket))
        scale = torch.tensor([control.scale for _, control in chosen], dtype=posed.latents.dtype)
        scale = to_device(scale, self._components.device)
        self._count(1, posed, posed=True)
        down, middle = self._components.controlnet(
            posed.latents,
            posed.timesteps,
            encoder_hidden_states=posed.prompt,
            controlnet_cond=_pad(torch.stack([control.image for _, control in chosen]), bucket).contiguous(),
            conditioning_scale=_pad(scale, bucket).view(-1, 1, 1, 1),
            added_cond_kwargs={"text_embeds": posed.pooled, "time_ids": posed.time_ids},
            return_dict=False,
        )

        def spread(residual: torch.Tensor) -> torch.Tensor:
            everywhere = residual.new_zeros(padded_rows, *residual.shape[1:])
            return everywhere.index_copy_(0, where, residual[: len(chosen)])

        return {
            "down_block_additional_residuals": tuple(spread(each) for each in down),
            "mid_block_additional_residual": spread(middle),
        }

    def _count(self, model: int, rows: Rows, posed: bool) -> None:
        shape = (model, posed, *rows.latents.shape, rows.prompt.shape[1])
        if shape not in self._known:
            self._known.add(shape)
            self._stats.unrehearsed += 1


def bucket_sizes(components: Components, config: EngineConfig) -> tuple[int, ...]:
    """The row counts that passes are padded to, the smallest first; none where every count is run as it comes."""
    if config.row_buckets is not None:
        return tuple(sorted(set(config.row_buckets)))
    return GPU_BUCKETS if components.device.type == "cuda" or config.compile == "full" else ()


def _pad(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    missing = rows - len(tensor)
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor


@dataclass(frozen=True, eq=False)
class _Control:
    scale: float
    image: torch.Tensor
    """(3, height_px, width_px)"""
