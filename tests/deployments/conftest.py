"""Stores of every kind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.store_config import StorageConfig
from tests.deployments.fake_bucket import FakeBucket


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = FakeBucket()
    yield bucket
    bucket.close()


@pytest.fixture(params=["folder", "bucket", "memory"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> StorageConfig:
    match request.param:
        case "folder":
            return StorageConfig(location=str(tmp_path / "pictures"))
        case "memory":
            return StorageConfig(location="memory://")
        case _:
            endpoint = request.getfixturevalue("bucket").endpoint
            return StorageConfig(location="s3://bucket/some/prefix", endpoint=endpoint, region="here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def ray_passes_records_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Ray keeps its loggers' records from the root logger, where caplog listens."""
    for name in ("ray", "ray.serve"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    caplog.set_level(logging.INFO, "ray.serve")
