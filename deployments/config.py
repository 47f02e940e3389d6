"""What the GPU deployments are told: which checkpoint to load, and how the engine runs it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


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
    decode_batch: int = Field(4, ge=1, description="Most pictures that the VAE decodes between two steps.")
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
    attention: Literal["auto", "flash", "cudnn", "efficient"] = Field(
        "auto",
        description="The kernel of scaled dot product attention, wherever it can run. `auto`: on a GPU the fastest for "
        "each shape of the largest of `warm_up_sizes`, measured at the first start; else torch's choice.",
    )
    quantize: Literal["fp8"] | None = Field(
        None,
        description="`fp8`: linear layers of the UNet and the ControlNet in 8 bits, scaled by row. It changes "
        "pictures, and needs `torchao`, `dtype: bfloat16` and a GPU of compute capability 8.9 or newer.",
    )
    compile: bool | Literal["full"] = Field(
        False,
        description="`true`: `torch.compile` the transformer and residual blocks of the UNet, the ControlNet and the "
        "VAE's decoder, once for all sizes. `full`: whole models, once for each row count and size of the warm-up; "
        "other sizes run eagerly.",
    )
    cuda_graphs: bool = Field(False, description="With `compile: full`: replay each row count as a CUDA graph.")
    row_buckets: tuple[PositiveInt, ...] | None = Field(
        None,
        min_length=1,
        description="The row counts of forward passes, which are cut and padded to them; all are rehearsed at the "
        "start. Unset: 2, 4, 8 and 16 on a GPU or with `compile: full`, else every count as it comes.",
    )
    cache_dir: str | None = Field(
        None,
        description="Folder that keeps compiled kernels and what was measured of the GPU between starts. Unset: "
        "`sdxl-serve` in the Hugging Face home.",
    )

    @model_validator(mode="after")
    def _graphs_are_of_whole_models(self) -> EngineConfig:
        if self.cuda_graphs and self.compile != "full":
            raise ValueError(f"cuda_graphs needs compile: full; compile is {self.compile!r}")
        return self

    @model_validator(mode="after")
    def _what_is_made_ready_has_sizes(self) -> EngineConfig:
        if not self.warm_up_sizes and (self.compile or self.attention != "auto"):
            wanted = f"compile is {self.compile}" if self.compile else f"attention is {self.attention}"
            raise ValueError(f"{wanted}, which happens at the start: warm_up_sizes must name a size at least")
        return self
