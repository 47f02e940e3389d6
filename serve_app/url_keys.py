"""The keys that image URLs are signed with: from the environment, a file, or made once and kept."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from serve_app.config import AppConfig

logger = logging.getLogger("ray.serve.url_keys")

VARIABLE = "IMAGE_URL_KEYS"
MIN_KEY_CHARS = 32


def url_keys(config: AppConfig, environ: Mapping[str, str]) -> tuple[SecretStr, ...]:
    """The keys of a service with this configuration and environment; as `load_url_keys`."""
    file, folder = config.access.url_keys_file, config.storage.folder
    return load_url_keys(environ, Path(file) if file else None, folder / ".url-keys" if folder else None)


def load_url_keys(
    environ: Mapping[str, str], keys_file: Path | None, default_file: Path | None
) -> tuple[SecretStr, ...]:
    """Finds the keys, the one that signs first.

    Args:
        environ: where `IMAGE_URL_KEYS` may stand: keys separated by commas.
        keys_file: the configured file, one key a line; used when the environment has none.
        default_file: made with a fresh key when neither of the two is given, and read again by later runs. None where
            there is no place that all replicas and later runs see.

    Raises:
        ValueError: there is no key, or one is too short; says where, and nothing of the key.
        OSError: a file can't be read or made.
    """
    if listed := environ.get(VARIABLE, "").strip():
        return _checked(VARIABLE, listed.split(","))
    if keys_file is not None:
        return _checked(f"image URL key file {keys_file}", _lines(keys_file))
    if default_file is None:
        raise ValueError(f"no keys for image URLs: set {VARIABLE}, or name a file of keys in access.url_keys_file")
    if not default_file.exists():
        _make_key_file(default_file)
    return _checked(f"image URL key file {default_file}", _lines(default_file))


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"image URL key file {file} is no text in UTF-8") from None
    return [line for line in lines if not line.lstrip().startswith("#")]


def _checked(where: str, texts: Iterable[str]) -> tuple[SecretStr, ...]:
    keys = [key for text in texts if (key := text.strip())]
    if not keys:
        raise ValueError(f"{where}: no key in it; at least one of {MIN_KEY_CHARS} characters or more is needed")
    for number, key in enumerate(keys, 1):
        if len(key) < MIN_KEY_CHARS:
            raise ValueError(f"{where}: key {number} has {len(key)} characters; at least {MIN_KEY_CHARS} are needed")
    return tuple(SecretStr(key) for key in keys)


def _make_key_file(file: Path) -> None:
    """Writes a fresh key, readable by its owner only. Of several processes that do so at once, one wins for all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(secrets.token_urlsafe(32) + "\n")
        # Linking fails where the name is taken, and shows the file only when it is whole.
        with suppress(FileExistsError):
            os.link(draft, file)
            logger.info("made a key for image URLs: %s", file)
    finally:
        os.unlink(draft)
