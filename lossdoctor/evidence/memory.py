"""How far back a recurrent model's answers reach, and whether that is far enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.recurrence import Recurrence
from lossdoctor.evidence.simple_models import SimpleModels
from lossdoctor.record.run import LayerRecord, RunRecord


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The steps that still reach the answers of a recurrent model.

    `within` of the last steps do, of `steps`; simple models explain `signal` of the variance of
    the targets out of fold on all steps, `signal_within` on those within reach. `cell` is the
    layer that hands on its last state.
    """

    cell: LayerRecord
    within: int
    steps: int
    signal: float
    signal_within: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        cells = [cell.layer for cell in Recurrence.from_record(record).cells]
        last = [cell for cell in cells if not cell.config.get("return_sequences")]
        probes = record.probes
        if "memory" not in probes:
            raise NotRecorded.of(record, "gradients by time step", "of runs that learned little")
        if "memory_signal" not in probes:
            raise NotApplicable("every step reaches the answers")
        return cls(
            cell=(last or cells)[0],
            within=int(probes["memory"]),
            steps=int(probes["memory_steps"]),
            signal=SimpleModels.from_record(record).signal,
            signal_within=max(probes["memory_signal"], 0.0),
        )

    @property
    def out_of_reach(self) -> float:
        """The share of the variance that only steps beyond reach explain."""
        return self.signal - self.signal_within
