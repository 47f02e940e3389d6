"""Settings of a store: what is refused, and where one replica is the most."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ray import serve

from deployments.storage import Storage
from deployments.store_config import StorageConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"location": " "}, "location is empty"),
        ({"location": "ftp://host/x"}, "'ftp://host/x' is neither a local folder nor one of s3://, gs://, az://"),
        ({"location": "s3:/x"}, "'s3:/x' names no bucket; it must be s3://BUCKET/PREFIX"),
        ({"location": "gs://"}, "'gs://' names no bucket"),
        ({"location": "az:///prefix"}, "'az:///prefix' names no bucket"),
        ({"location": "pictures", "endpoint": "http://x"}, "endpoint 'http://x' needs"),
        ({"location": "gs://x", "region": "here"}, "region 'here' needs"),
        ({"location": "s3://x", "shared_folder": True}, "shared_folder is about a local folder"),
        ({"url_ttl_s": 0}, "url_ttl_s"),
        ({"keep_margin_s": 0}, "keep_margin_s"),
        ({"secret_access_key": "x"}, "secret_access_key"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        StorageConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "replicas", "fits"),
    [
        ({"location": "x"}, 1, True),
        ({"location": "x"}, 2, False),
        ({"location": "x", "shared_folder": True}, 2, True),
        ({"location": "memory://"}, 2, False),
        ({"location": "s3://x"}, 9, True),
    ],
)
def test_local_folder_serves_one_replica_unless_shared(settings: dict[str, Any], replicas: int, fits: bool) -> None:
    config = StorageConfig(**settings)
    if fits:
        config.check_replicas(replicas)
    else:
        with pytest.raises(ValueError, match="shared_folder: true"):
            config.check_replicas(replicas)


def test_a_local_folder_is_refused_to_replicas_that_may_become_several(serve_url: str, folder: Path) -> None:
    scaling = {"min_replicas": 1, "max_replicas": 2}
    storage = serve.deployment(Storage, autoscaling_config=scaling, max_constructor_retry_count=1)
    try:
        with pytest.raises(RuntimeError):
            serve.run(storage.bind(StorageConfig(location=str(folder))), name="grows", route_prefix=None)
        message = serve.status().applications["grows"].deployments["Storage"].message
    finally:
        serve.delete("grows")
    assert "serves one storage replica, not 2" in message


@pytest.mark.parametrize("location", ["s3://bucket/prefix", "gs://bucket/prefix", "az://container/prefix"])
def test_every_kind_of_bucket_opens(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    StorageConfig(location=location).open()


def test_every_setting_is_described() -> None:
    assert all(field.description for field in StorageConfig.model_fields.values())
