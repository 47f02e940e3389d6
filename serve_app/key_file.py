"""The file of API keys: in each line a name and the SHA-256 of the key; empty lines and # comments are skipped."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
LINE = re.compile(rf"({NAME})\s+([0-9a-fA-F]{{64}})")


class Entry(NamedTuple):
    """One line of a key file."""

    name: str
    sha256: str
    """64 hex digits, lower case."""


class KeyFile(NamedTuple):
    """What a key file says."""

    entries: tuple[Entry, ...]
    broken_lines: tuple[int, ...]
    """Numbers, from 1, of lines that are neither an entry nor empty nor a comment."""


def read_key_file(file: Path) -> KeyFile:
    """Reads a key file.

    Raises:
        ValueError: it is missing or no text; says which.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"API key file {file} can't be read: {error}") from error
    entries, broken_lines = [], []
    for number, line in enumerate(map(str.strip, lines), 1):
        if match := LINE.fullmatch(line):
            entries.append(Entry(match[1], match[2].lower()))
        elif line and not line.startswith("#"):
            broken_lines.append(number)
    return KeyFile(tuple(entries), tuple(broken_lines))


def key_hash(key: str) -> str:
    """SHA-256 of a key in hex. Keys are long and random, so a fast hash is enough."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def append_line(file: Path, line: str) -> None:
    """Appends in one write, so that a server that reads just then finds whole lines; makes a file that is missing."""
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as out:
        before = out.read()
        out.write((b"" if before.endswith(b"\n") or not before else b"\n") + line.encode() + b"\n")
