"""Where half precision meets the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, RunRecord

_SEARCHING_STEPS = 100
_FEWEST_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The last layers of float16 outputs, and the share of steps loss scaling skipped."""

    half_outputs: tuple[LayerRecord, ...]
    skipped: float | None
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        half = [
            setup.model.layers[output.layer]
            for output in setup.model.outputs
            if output.dtype == "float16" and output.layer is not None
        ]
        scaled = setup.optimizer is not None and setup.optimizer.loss_scaling
        if not half and not scaled:
            raise NotApplicable("the model does not compute in float16")
        return cls(half_outputs=tuple(half), skipped=_skipped(record), setup=setup)


def _skipped(record: RunRecord) -> float | None:
    if record.steps is None:
        return None
    late = np.asarray(record.steps.step) >= _SEARCHING_STEPS
    if late.sum() < _FEWEST_STEPS:
        return None
    return float(np.mean(np.asarray(record.steps.skipped)[late]))
