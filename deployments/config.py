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
    """How the engine batches."""
