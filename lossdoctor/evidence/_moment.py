"""When something happened in a run."""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    """An epoch and, where known, a step, both counted from 0."""

    epoch: int
    step: int | None = None
