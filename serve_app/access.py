"""API keys: who may order pictures.

python -m serve_app.access new NAME [--file FILE]
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hmac
import logging
import re
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from deployments.errors import ServiceError
from serve_app.key_file import NAME, append_line, key_hash, read_key_file

logger = logging.getLogger("ray.serve.access")


class InvalidApiKey(ServiceError):
    """No API key came with the request, or a wrong one."""


class KeyRing:
    """The keys of a file. A change of the file takes effect with the next request, without a restart."""

    def __init__(self, file: Path) -> None:
        """Reads `file`.

        Raises:
            ValueError: it is missing, holds no key or a line that is none; says which.
        """
        self._file = file
        self._version = _version(file)
        self._entries, broken_lines = read_key_file(file)
        if broken_lines:
            raise ValueError(f"API key file {file}, {_not_entries(broken_lines)}")
        if not self._entries:
            raise ValueError(f"API key file {file} holds no key; `python -m serve_app.access new NAME` makes one")

    def check(self, authorization: str | None) -> str:
        """The name of the key in an `Authorization` header.

        `Bearer KEY` as OpenAI's clients send it; `Basic` with the key as the password, the user or both, as
        AUTOMATIC1111's clients do.

        Raises:
            InvalidApiKey: there is no key in the header, or none of this file.
        """
        self._read_again_if_changed()
        presented = _presented_keys(authorization)
        if not presented:
            raise InvalidApiKey(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            )
        hashes = [key_hash(key) for key in presented]
        # All pairs are compared, so that the time taken does not tell which came close.
        matches = [
            entry.name for entry in self._entries for given in hashes if hmac.compare_digest(given, entry.sha256)
        ]
        if not matches:
            raise InvalidApiKey("Incorrect API key provided.")
        return matches[0]

    def _read_again_if_changed(self) -> None:
        version = _version(self._file)
        if version == self._version:
            return
        self._version = version
        try:
            self._entries, broken_lines = read_key_file(self._file)
        except ValueError as error:
            logger.error("the API keys from before stay in force: %s", error)
            return
        logger.info("read the API keys again: %d keys", len(self._entries))
        if broken_lines:  # a key that was taken out must not live on because of another line
            logger.error("API key file %s, %s; the other lines count", self._file, _not_entries(broken_lines))


def _not_entries(lines: tuple[int, ...]) -> str:
    return f"line {', '.join(map(str, lines))}: must be a name and a SHA-256 in 64 hex digits"


def _version(file: Path) -> tuple[int, int, int] | None:
    """What differs after a change of the file, None where it is missing."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _presented_keys(authorization: str | None) -> list[str]:
    """What may be the key in an `Authorization` header; empty where there is none."""
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    credentials = credentials.strip()
    match scheme.lower():
        case "bearer":
            candidates = [credentials]
        case "basic":
            try:
                pair = base64.b64decode(credentials, validate=True).decode()
            except (binascii.Error, ValueError):
                return []
            user, _, password = pair.partition(":")
            candidates = [password, user, pair]
        case _:
            return []
    return [candidate for candidate in candidates if candidate]


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes a key: the key itself goes to standard output and is kept nowhere."""
    parser = argparse.ArgumentParser(prog="python -m serve_app.access", description="API keys of the image server.")
    commands = parser.add_subparsers(required=True)
    new = commands.add_parser("new", help="make a key; it is shown once, the server keeps its hash")
    new.add_argument("name", help="who the key is for; it appears in the log")
    new.add_argument("--file", type=Path, help="the key file that the line is appended to")
    options = parser.parse_args(arguments)
    if not re.fullmatch(NAME, options.name):
        new.error(
            f"name {options.name!r} must start with a letter or digit, and go on with those or . _ @ - (up to 64)"
        )

    key = f"sk-{secrets.token_urlsafe(32)}"
    line = f"{options.name} {key_hash(key)}"
    if options.file is not None:
        try:
            append_line(options.file, line)
        except OSError as error:
            new.error(f"--file: {error}")
    sys.stdout.write(f"key (shown this once): {key}\n")
    sys.stdout.write(f"{'line for the key file' if options.file is None else f'added to {options.file}'}: {line}\n")


if __name__ == "__main__":
    main()
