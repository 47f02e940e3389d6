"""How many rows a GPU has memory for: measured once for each checkpoint, GPU and torch, and kept on disk."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from deployments.diffusion.decoder import Decoder
from deployments.diffusion.denoiser import Denoiser

logger = logging.getLogger(__name__)

RESERVE = 0.1
"""Share of the free memory that stays free: fragments, and what other kernels of the same passes need."""


@dataclass(frozen=True)
class Footprint:
    """Memory beside the weights."""

    forward_bytes: float
    """Per UNet row and latent pixel of a forward pass."""
    decode_bytes: float
    """Per picture and latent pixel of a VAE decode."""

    def budget(self, free_bytes: int, decode_pixels: int) -> int:
        """Most rows x latent pixels of one forward pass.

        Args:
            free_bytes: Memory that is free beside the weights.
            decode_pixels: Pictures x latent pixels of the largest decode; it never runs beside a forward pass.
        """
        usable = free_bytes * (1 - RESERVE)
        if self.decode_bytes * decode_pixels > usable:
            raise MemoryError("the GPU has no memory for the VAE decode; lower decode_batch or the picture size")
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
        peaks.append(_peak_bytes(partial(denoiser.rehearse, count, height, width, posed)) if count else 0)
    decode = _peak_bytes(partial(decoder.rehearse, 1, height, width))
    pixels = height * width
    return Footprint(max(peaks[1] - peaks[0], 1) / ((rows[1] - rows[0]) * pixels), decode / pixels)


def remembered(file: Path, key: str, measured: Callable[[], Footprint]) -> Footprint:
    """What `file` says of `key`; when it says nothing, what `measured` returns, which is then written down."""
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):  # none yet, not to be read, or damaged
        known = {}
    if key not in known:
        known[key] = asdict(measured())
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_suffix(f".{os.getpid()}")  # replicas on one node write whole files, one after the other
            draft.write_text(json.dumps(known, indent=1))
            draft.replace(file)
        except OSError as error:  # such as a cache of an image, which is read-only: measured again at the next start
            logger.warning("the memory probe's result could not be kept: %s", error)
    return Footprint(**known[key])


def free_bytes() -> int:
    """Memory of the current GPU that this process could still use."""
    free, _ = torch.cuda.mem_get_info()
    return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())


def _peak_bytes(action: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    action()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
