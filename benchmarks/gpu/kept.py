"""The engine's caches, in files that are small enough to be carried."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from benchmarks.gpu.folders import Folders

PART_BYTES = 15 * 2**20
PARTS_AT_MOST = 4


def keep_caches(folders: Folders) -> dict[str, Any]:
    """Copies what the engine has kept to the run's output: compressed, in parts."""
    kept: dict[str, Any] = {}
    for file in sorted(folders.engine_cache.glob("*")):
        packed = zlib.compress(file.read_bytes(), 6)
        parts = [packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
        kept[file.name] = {"bytes": file.stat().st_size, "packed": len(packed), "parts": len(parts)}
        if len(parts) <= PARTS_AT_MOST:
            for number, part in enumerate(parts):
                (folders.out / f"{file.name}.z{number}").write_bytes(part)
    return {"kept": kept}


def take_caches(source: Path, target: Path) -> None:
    """Unpacks what `keep_caches` wrote in an earlier run, where the engine looks for it."""
    target.mkdir(parents=True, exist_ok=True)
    packed: dict[str, bytes] = {}
    for part in sorted(source.glob("*.z?")):
        packed[part.stem] = packed.get(part.stem, b"") + part.read_bytes()
    for name, content in packed.items():
        (target / name).write_bytes(zlib.decompress(content))
