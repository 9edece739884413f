"""A run's record on disk while the run lasts, so that a killed process loses one epoch at most.

The whole record is replaced atomically, but no more often than costs a hundredth of the time;
between two replacements each epoch's logs are appended as a line with a checksum.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from lossdoctor.record.epochs import EpochLog
from lossdoctor.record.run import RunRecord
from lossdoctor.record.storage import document, epoch_line, write_atomically

_SHARE_OF_TIME = 0.01


class Journal:
    """Written from the first epoch on; starting one empties the file, which may be an old run's.

    Args:
        path: The file.

    Raises:
        OSError: If the file cannot be written; so do all methods.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._digest: str | None = None
        self._due = 0.0
        write_atomically(path, "")

    def add(self, epoch: EpochLog, record: Callable[[], RunRecord]) -> None:
        """Note an epoch that ended; `record` makes the record up to its end."""
        started = time.monotonic()
        if self._digest is not None and started < self._due:
            line, self._digest = epoch_line(epoch, self._digest)
            with open(self.path, "r+", encoding="utf-8") as file:
                file.seek(0, os.SEEK_END)
                file.write(line)
            return
        first = self._digest is None
        self.replace(record())
        finished = time.monotonic()
        # The first record takes longer, for summaries of the data its successors use again.
        self._due = finished if first else finished + (finished - started) / _SHARE_OF_TIME

    def replace(self, record: RunRecord) -> None:
        """Write the whole record."""
        text, self._digest = document(record)
        write_atomically(self.path, text)
