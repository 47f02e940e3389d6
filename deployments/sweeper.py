"""Deletes pictures that no URL leads to any more, and records of their time."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore.store import ObjectStore

logger = logging.getLogger("ray.serve.storage")


class Sweeper:
    """Looks through the store at intervals, in a thread of its own, and deletes what is older than `keep_s`.

    Age counts from the object's last-modified time, so pictures left by an earlier run go too. Objects with other names
    than ours stay: a folder or a prefix may be shared with something else.
    """

    def __init__(
        self, store: ObjectStore, *, folder: Path | None, names: re.Pattern[str], keep_s: float, interval_s: float
    ) -> None:
        """Prepares a sweeper; `start` starts it.

        Args:
            store: what is swept where it is a bucket.
            folder: what is swept instead where the store is a local folder.
            names: matches the whole path of the objects that may be deleted.
            keep_s: an object is deleted when this many seconds have passed since it was written.
            interval_s: pause between two sweeps.
        """
        self._store = store
        self._folder = folder
        self._names = names
        self._keep_s = keep_s
        self._interval_s = interval_s
        self._stopped = threading.Event()
        # A thread and not a task: a deployment's constructor runs before there is a loop to put a task on.
        self._thread = threading.Thread(target=self._run, name="picture-sweeper", daemon=True)

    def start(self) -> None:
        """Sweeps now and then at intervals, until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the sweep it may be in."""
        self._stopped.set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def sweep(self, now_s: float) -> int:
        """Deletes what is too old at `now_s` (Unix seconds) and returns how many objects that were."""
        oldest_s = now_s - self._keep_s
        return self._sweep_store(oldest_s) if self._folder is None else self._sweep_folder(self._folder, oldest_s)

    def _sweep_store(self, oldest_s: float) -> int:
        deleted = 0
        for chunk in self._store.list(chunk_size=1000):
            expired = [
                found["path"]
                for found in chunk
                if self._names.fullmatch(found["path"]) and found["last_modified"].timestamp() < oldest_s
            ]
            if expired:
                with suppress(FileNotFoundError):  # another replica was faster; what is left goes at the next sweep
                    self._store.delete(expired)
                    deleted += len(expired)
        return deleted

    def _sweep_folder(self, folder: Path, oldest_s: float) -> int:
        """Without the store, whose listing goes into subfolders and fails as a whole at one that can't be read."""
        deleted, failures = 0, []
        with os.scandir(folder) as entries:
            for entry in entries:
                # obstore stages `NAME#NUMBER` beside a local file; a write that a crash interrupted leaves it there.
                name, _, number = entry.name.rpartition("#")
                if not self._names.fullmatch(name if number.isdecimal() else entry.name):
                    continue
                try:
                    if entry.stat(follow_symlinks=False).st_mtime < oldest_s:
                        os.unlink(entry)
                        deleted += 1
                except FileNotFoundError:  # another replica was faster
                    continue
                except OSError as error:
                    failures.append(error)
        if failures:
            logger.warning("%d expired files could not be deleted; the first: %s", len(failures), failures[0])
        return deleted

    def _run(self) -> None:
        while True:
            try:
                if deleted := self.sweep(time.time()):
                    logger.info("deleted %d expired pictures", deleted)
            except Exception:  # the store may be back at the next sweep
                logger.exception("the picture store could not be swept; the next try is in %g s", self._interval_s)
            if self._stopped.wait(self._interval_s):
                return
