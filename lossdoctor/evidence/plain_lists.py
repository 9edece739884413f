"""Which of x and y came as Python lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class PlainLists:
    """`names`: which of "x" and "y" are lists; `sides`: the user's arrays that must be made."""

    names: tuple[str, ...]
    sides: tuple[str, ...]

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if record.source != "config" or record.train is None:
            raise NotRecorded("the type of x and y: pass them to check_config")
        setup, names = Setup.from_record(record), record.train.lists
        sides = [setup.known_sides("X" if name == "x" else name) for name in names]
        return cls(names=names, sides=tuple(side for pair in sides for side in pair))
