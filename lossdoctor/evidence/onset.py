"""When something first showed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Onset:
    """An epoch, counted from 0, and the optimizer step where it is known."""

    epoch: int
    step: int | None = None
