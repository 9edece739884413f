"""What simple models reach on the same rows, as the probes measured it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.reconstruction import gives_back_an_input
from lossdoctor.evidence.sample_size import holds_rules
from lossdoctor.record.run import RunRecord

MOST_PATTERNS = 0.5


@dataclass(frozen=True, kw_only=True)
class SimpleModels:
    """`signal` is the best out-of-fold R² of ridge regression, nearest neighbors and a forest; on
    flattened images and sequences of the first two, or of a ridge regression on pooled features of
    them, or the share of a constant's errors any of the three avoids there: a network must at
    least equal it. 1 for a `truth_table`."""

    signal: float
    of_errors: bool = False
    """`signal` is that share of errors."""
    truth_table: bool = False
    """Most patterns the discrete inputs can take stand in the data, none with two answers: all of
    it can be learned, whatever simple models make of it."""

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if gives_back_an_input(record):
            raise NotApplicable("the targets are the inputs, which any simple model copies")
        if _is_truth_table(record):
            return cls(signal=1.0, truth_table=True)
        names = ("signal",) if "signal" in record.probes else ("flat_signal", "pooled_signal")
        known = [record.probes[name] for name in names if name in record.probes]
        if not known:
            raise NotRecorded.of(record, "simple models", "they need 60 rows of numbers as input")
        minority = record.probes.get("flat_minority")
        avoided = 1 - record.probes["flat_error"] / minority if minority else -math.inf
        return cls(signal=max(*known, avoided), of_errors=avoided > max(known))


def _is_truth_table(record: RunRecord) -> bool:
    inputs = record.train.inputs if record.train else ()
    if not holds_rules(record) or any(len(summary.shape) != 1 for summary in inputs):
        return False
    repeated = max(summary.duplicate_fraction for summary in inputs)
    patterns = math.prod(float(s.distinct) ** (s.shape[0] or 0) for s in inputs)
    return inputs[0].sampled_rows * (1 - repeated) >= MOST_PATTERNS * patterns
