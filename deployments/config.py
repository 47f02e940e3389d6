"""What the GPU deployments are told: which checkpoint to load, and how the engine runs it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of every settings class: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class CheckpointConfig(Settings):
    """The weights of one model. Each path is a hub id (`owner/name`) or a folder in the same layout."""

    path: str = Field(description="The SDXL checkpoint: a hub id, or a folder in diffusers layout.")
    revision: str | None = Field(None, description="Branch, tag or commit of the hub id.")
    variant: str | None = Field(None, description="Weight file variant, such as `fp16`.")
    dtype: Literal["float32", "float16", "bfloat16"] = Field("float16", description="Type the weights are loaded in.")
    device: str = Field("auto", description="`auto` (CUDA where there is a GPU, else CPU), or a torch device.")
    vae: str | None = Field(None, description="A VAE that replaces the checkpoint's own.")
    controlnet: str | None = Field(None, description="An openpose ControlNet; without it poses are not served.")
    controlnet_variant: str | None = Field(None, description="Weight file variant of the ControlNet.")
    pose_estimator: str | None = Field(None, description="The pose estimator: `lllyasviel/Annotators`, or a folder.")
    max_prompt_chunks: int = Field(3, ge=1, le=16, description="Longest prompt, in chunks of 75 tokens.")


class EngineConfig(Settings):
    """How the engine batches, and which of the device's abilities it uses."""

    budget: int | None = Field(
        None,
        gt=0,
        description="Most UNet rows x latent pixels of one forward pass; a picture that is larger is refused. Unset: "
        "rows of the checkpoint's own size, 1 on a CPU and 16 on a GPU, and there no more than the memory holds for "
        "the largest of `warm_up_sizes`.",
    )
    overtaking: float = Field(
        4.0,
        ge=0,
        description="How far a shorter job may overtake: it passes a job that came up to this many times the "
        "difference of their work (in seconds) before it, and whose deadline is not near. 0 is first come, first "
        "served.",
    )
    decode_batch: int = Field(4, ge=1, description="Most pictures of one VAE decode.")
    encoder_threads: int | None = Field(
        None,
        ge=1,
        description="Threads that write PNG, JPEG and WebP. Unset: half the cores that the replica may use, 2 to 8.",
    )
    prompt_cache_bytes: int = Field(256 * 2**20, ge=0, description="Most memory of remembered prompt embeddings.")
    preview_decoder: str | None = Field(
        None,
        description="An `AutoencoderTiny` for previews: hub id or folder. Unset: the checkpoint's VAE, downscaled.",
    )
    preview_px: int = Field(256, ge=16, description="Longest edge of a preview.")
    heartbeat_timeout_s: float = Field(120, gt=0, description="A tick that takes longer fails the health check.")
    warm_up_sizes: tuple[tuple[int, int], ...] = Field(
        (), description="Picture sizes (width, height) whose kernels are made ready before the replica is."
    )
    channels_last: bool = Field(
        False, description="Lay the weights out channels last, which tensor cores and CPUs convolve faster."
    )
    fuse_qkv: bool = Field(False, description="One matrix product for query, key and value.")
    compile: bool = Field(False, description="`torch.compile` the UNet, the ControlNet and the VAE's decoder.")
    cuda_graphs: bool = Field(False, description="With `compile`: replay each bucket as a CUDA graph.")
    row_buckets: tuple[int, ...] = Field(
        (1, 2, 4, 6, 8, 12, 16), description="With `compile`: the row counts that a forward pass is padded to."
    )
    cache_dir: str | None = Field(
        None,
        description="Folder that keeps compiled kernels and the memory probe's result between starts. Unset: "
        "`sdxl-serve` in the Hugging Face home.",
    )
