"""What was measured or compiled, kept on disk for the next start."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HOME

from deployments.config import EngineConfig

logger = logging.getLogger(__name__)


def cache_folder(config: EngineConfig) -> Path:
    """Where compiled graphs and measurements are kept."""
    return Path(config.cache_dir or Path(HF_HOME) / "sdxl-serve")


def keep(file: Path, content: bytes) -> None:
    """Writes a whole file, in place of one that another replica wrote. One that can't be written is only logged."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as draft:
            draft.write(content)
        Path(draft.name).replace(file)
    except OSError as error:  # such as a cache of an image, which is read-only: done again at the next start
        logger.warning("%s could not be kept: %s", file.name, error)


def remembered(file: Path, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `file` says of `key`; when it says nothing, what `measure` returns, which is then written down."""
    try:
        known: dict[str, dict[str, Any]] = json.loads(file.read_text())
    except (OSError, ValueError):  # none yet, not to be read, or damaged
        known = {}
    if key not in known:
        known[key] = measure()
        keep(file, json.dumps(known, indent=1).encode())
    return known[key]
