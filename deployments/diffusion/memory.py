"""How many rows a GPU has memory for: measured once for each checkpoint, GPU and torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from deployments.diffusion.decoder import Decoder
from deployments.diffusion.denoiser import Denoiser

RESERVE = 0.1
"""Share of the free memory that stays free: fragments, and what other kernels of the same passes need."""


@dataclass(frozen=True)
class Footprint:
    """Memory beside the weights."""

    forward_bytes: float
    """Per UNet row and latent pixel of a forward pass."""
    decode_bytes: float
    """Per latent pixel of a VAE decode."""

    def budget(self, free_bytes: int, decode_pixels: int) -> int:
        """Most rows x latent pixels of one forward pass.

        Args:
            free_bytes: Memory that is free beside the weights.
            decode_pixels: Latent pixels of the largest picture; its decode never runs beside a forward pass.
        """
        usable = free_bytes * (1 - RESERVE)
        if self.decode_bytes * decode_pixels > usable:
            raise MemoryError("the GPU has no memory to decode one picture of the largest warm-up size")
        return int(usable / self.forward_bytes)


def measure(
    denoiser: Denoiser, decoder: Decoder, rows: tuple[int, int], height: int, width: int, posed: bool
) -> Footprint:
    """Runs passes on the current GPU for their peaks.

    Args:
        denoiser: Its passes have what the rows need, and what is needed once; so two are compared.
        decoder: Its passes are of one picture.
        rows: Of the two passes, the smaller first; 0 for none.
        height: Of the latents.
        width: Likewise.
        posed: Whether the ControlNet takes part.
    """
    peaks = []
    for count in rows:
        if count:
            denoiser.rehearse(count, height, width, posed)  # compiles, and takes the libraries' workspaces, which stay
        peaks.append(peak_bytes(partial(denoiser.rehearse, count, height, width, posed)) if count else 0)
    decode = peak_bytes(partial(decoder.rehearse, height, width))
    pixels = height * width
    return Footprint(max(peaks[1] - peaks[0], 1) / ((rows[1] - rows[0]) * pixels), decode / pixels)


def free_bytes() -> int:
    """Memory of the current GPU that this process could still use."""
    free, _ = torch.cuda.mem_get_info()
    return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())


def peak_bytes(action: Callable[[], object]) -> int:
    """Memory of the current GPU that `action` has at most, beside what is held before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    action()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
