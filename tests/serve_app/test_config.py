"""A wrong configuration is refused whole, before a replica starts, naming field, value and what is allowed."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.app import build_app
from serve_app.config import AppConfig
from tests.conftest import fake_config


def settings(folder: Path) -> dict[str, Any]:
    return copy.deepcopy(fake_config(folder).model_dump(mode="json"))


def change(config: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *parents, last = path.split("/")
    place: Any = config
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    place[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("models", [], ["models", "at least 1"]),
        ("modles", [], ["modles", "Extra inputs"]),
        ("models/0/id", "a b", ["models.0.id", "'a b'"]),
        ("models/0/checkpoint/dtype", "int8", ["dtype", "int8", "float16"]),
        ("models/0/engine/quantize", "fp8", ["fp8, which needs checkpoint.dtype bfloat16", "float16"]),
        ("models/0/engine/compile", "half", ["compile", "'full'", "half"]),
        ("models/0/engine/cuda_graphs", True, ["cuda_graphs needs compile: full", "False"]),
        ("models/0/engine/compile", True, ["compile is True", "warm_up_sizes must name a size"]),
        ("models/0/engine/attention", "flash", ["attention is flash", "warm_up_sizes must name a size"]),
        ("models/0/engine/row_buckets", [4, 0], ["row_buckets", "greater than 0"]),
        ("models/0/checkpoint/controlnet", None, ["controlnet and checkpoint.pose_estimator go together"]),
        ("models/0/sizes", {"1000x999": "1024x1024"}, ["multiples of 8", "'1000x999'"]),
        ("models/0/sizes", {}, ["sizes", "at least 1"]),
        ("models/0/default_size", "64x64", ["default_size", "'64x64'", "256x256"]),
        ("models/0/default_quality", "best", ["default_quality", "'best'", "smooth"]),
        ("models/0/presets/smooth", {"steps": 0, "guidance_scale": 1, "scheduler": "euler"}, ["steps", "greater than"]),
        ("models/0/presets/smooth", {"steps": 1, "guidance_scale": 1, "scheduler": "eula"}, ["'eula'", "euler_a"]),
        ("models/0/names", {}, ["names", "at least 1"]),
        ("models/0/names/be-fake/n_means", "both", ["n_means", "both", "'seed'"]),
        ("models/0/names/dall-e-2/sizes", {"1792x1024": "1x1"}, ["1x1"]),
        ("models/0/names/dall-e-2/qualities", {"standard": "none"}, ["'none'", "smooth"]),
        ("models/0/strength", 0, ["strength", "greater than 0"]),
        ("storage/url_ttl_s", 0, ["url_ttl_s", "greater than 0"]),
        ("storage/location", "ftp://x", ["ftp"]),
        ("public_url", "images.example", ["public_url", "https"]),
        ("public_url", "https://images.example", ["'https://images.example'", "access.key_file", "localhost"]),
        ("limits/request_timeout_s", "soon", ["request_timeout_s", "soon"]),
        ("access/key_file", 3, ["key_file", "string"]),
        ("access/key_file", "", ["key_file", "at least 1"]),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, path: str, value: object, says: list[str]) -> None:
    with pytest.raises(ValidationError) as error:
        build_app(change(settings(tmp_path), path, value))
    for text in says:
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("public_url", "key_file"),
    [("http://localhost:9000/base", None), ("http://[::1]:9000", None), ("https://images.example", "keys")],
)
def test_a_public_url_has_keys_or_leads_to_this_machine(tmp_path: Path, public_url: str, key_file: str | None) -> None:
    config = fake_config(tmp_path, public_url=public_url, access={"key_file": key_file})
    assert config.public_url == public_url


def test_names_and_ids_are_unique(tmp_path: Path) -> None:
    config = settings(tmp_path)
    config["models"] *= 2
    with pytest.raises(ValidationError, match="given twice: fake"):
        build_app(config)
    config["models"] = [config["models"][0], {**config["models"][0], "id": "other"}]
    with pytest.raises(ValidationError, match=r"models\[\].names must be unique; given twice: be-fake"):
        build_app(config)


def test_a_bucket_needs_keys_for_urls_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGE_URL_KEYS", raising=False)
    config = change(settings(tmp_path), "storage/location", "s3://bucket/prefix")
    with pytest.raises(ValueError, match="IMAGE_URL_KEYS"):
        build_app(config)
    monkeypatch.setenv("IMAGE_URL_KEYS", "k" * 32)
    build_app(config)


def test_a_configuration_can_not_be_changed_afterwards(tmp_path: Path) -> None:
    config = AppConfig.model_validate(settings(tmp_path))
    with pytest.raises(ValidationError):
        setattr(config.limits, "max_body_bytes", 1)  # noqa: B010 (mypy knows that it is read-only)


def test_serve_app_imports_without_torch() -> None:
    program = (
        "import sys, serve_app.app, serve_app.api, serve_app.launch; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=False).returncode == 0


def test_pipelines_are_named_as_the_deployments_have_them(tmp_path: Path) -> None:
    separate = settings(tmp_path)["models"][0]
    without_poses = separate | {"id": "second", "checkpoint": {"path": "none"}, "names": {"second": {}}}
    shared = separate | {"id": "third", "share_engine": True, "names": {"third": {}}}
    config = fake_config(tmp_path, models=[separate, without_poses, shared])
    assert [list(config.pipelines(model).values()) for model in config.models] == [
        ["TextToImage:fake", "ImageEdit:fake", "PoseControl:fake"],
        ["TextToImage:second", "ImageEdit:second"],
        ["AllTasks:third"],
    ]
    config = fake_config(tmp_path, models=[shared])
    assert config.pipelines(config.models[0]) == {"AllTasks": "AllTasks"}
