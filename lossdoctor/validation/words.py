"""How numbers of a validation are worded."""

from __future__ import annotations

from collections.abc import Sequence


def share(right: Sequence[bool]) -> str:
    """`17/20 (85.0%)`."""
    return f"{sum(right)}/{len(right)} ({sum(right) / max(len(right), 1):.1%})"
