"""Where pictures are kept and for how long."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import LocalStore, from_url
from pydantic import Field, model_validator

from deployments.config import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

BUCKET_SCHEMES = ("s3", "gs", "az")
MEMORY_SCHEME = "memory"
"""Pictures in the replica's own memory, gone with it: for tests."""


class StorageConfig(Settings):
    """The picture store. Credentials of a bucket come from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`)."""

    location: str = Field(
        "pictures",
        description="A local folder, or a bucket and a prefix: `s3://bucket/prefix`, `gs://…`, `az://container/…`. It "
        "belongs to one service.",
    )
    endpoint: str | None = Field(None, description="Address of an S3- or Azure-compatible service other than theirs.")
    region: str | None = Field(None, description="Region of an S3 bucket.")
    shared_folder: bool = Field(False, description="Whether every storage replica sees the same local folder.")
    url_ttl_s: int = Field(
        3600, gt=0, description="How long an image URL works, from its making; less of it also shortens older URLs."
    )
    keep_margin_s: float = Field(
        300,
        ge=1,
        description="Time a picture is kept beyond `url_ttl_s`: its URL is made after it is stored, and clocks differ.",
    )
    sweep_interval_s: float = Field(60, gt=0, description="Time between two searches for expired pictures.")

    @property
    def scheme(self) -> str | None:
        """The scheme of a bucket's URL, None for a local folder."""
        scheme, separator, _ = self.location.partition("://")
        return scheme if separator else None

    @property
    def folder(self) -> Path | None:
        """The local folder, None for a bucket."""
        return None if self.scheme else Path(self.location).expanduser().absolute()

    @property
    def keep_s(self) -> float:
        """How long a picture is kept after it was written; longer than any URL of it works."""
        return self.url_ttl_s + self.keep_margin_s

    def check_replicas(self, max_replicas: int) -> None:
        """Refuses more than one storage replica where each would see pictures of its own.

        Raises:
            ValueError: names `location` and what to change.
        """
        apart = self.scheme == MEMORY_SCHEME or (self.folder is not None and not self.shared_folder)
        if max_replicas > 1 and apart:
            raise ValueError(
                f"location {self.location!r} serves one storage replica, not {max_replicas}: use a bucket (s3://, "
                "gs://, az://), or a folder that all replicas see, with shared_folder: true"
            )

    def check_folder(self) -> None:
        """Makes a local folder where there is none, and writes a file there that vanishes at once.

        Raises:
            OSError: names the folder and what is wrong with it.
        """
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            what = f"storage.location: the folder {self.folder} can't be made or written: {error.strerror}"
            raise OSError(error.errno, what) from error

    def open(self) -> ObjectStore:
        """Opens the store; a local folder is made where there is none. Nothing is asked of a bucket yet."""
        if self.folder is not None:
            return LocalStore(self.folder, mkdir=True)
        if self.scheme == MEMORY_SCHEME:
            return from_url(self.location)
        config = {name: value for name in ("endpoint", "region") if (value := getattr(self, name)) is not None}
        return from_url(  # type: ignore[call-overload,no-any-return] # one overload a provider; the URL decides here
            self.location,
            config=config,
            client_options={"allow_http": (self.endpoint or "").startswith("http://")},
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
        )

    @model_validator(mode="after")
    def _check_location(self) -> StorageConfig:
        if not self.location.strip():
            raise ValueError("location is empty; give a local folder or a bucket's URL")
        scheme, colon, _ = self.location.partition(":")
        if colon and scheme in BUCKET_SCHEMES and not urlsplit(self.location).netloc:
            raise ValueError(f"location {self.location!r} names no bucket; it must be {scheme}://BUCKET/PREFIX")
        if self.scheme not in (None, *BUCKET_SCHEMES, MEMORY_SCHEME):
            allowed = ", ".join(f"{scheme}://" for scheme in BUCKET_SCHEMES)
            raise ValueError(f"location {self.location!r} is neither a local folder nor one of {allowed}")
        if self.endpoint is not None and self.scheme not in ("s3", "az"):
            raise ValueError(f"endpoint {self.endpoint!r} needs a location at s3:// or az://, not {self.location!r}")
        if self.region is not None and self.scheme != "s3":
            raise ValueError(f"region {self.region!r} needs a location at s3://, not {self.location!r}")
        if self.shared_folder and self.folder is None:
            raise ValueError(f"shared_folder is about a local folder; location is {self.location!r}")
        return self
