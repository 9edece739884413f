"""What simple models reach on the same rows, as the probes measured it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class SimpleModels:
    """`signal` is the best out-of-fold R² of ridge regression, nearest neighbors and a forest; on
    flattened images and sequences of the first two, or of a ridge regression on pooled features of
    them, which a network must at least equal."""

    signal: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        names = ("signal",) if "signal" in record.probes else ("flat_signal", "pooled_signal")
        known = [record.probes[name] for name in names if name in record.probes]
        if not known:
            raise NotRecorded.of(record, "simple models", "they need 60 rows of numbers as input")
        if _gives_back_an_input(record):
            raise NotApplicable("the targets are the inputs, which any simple model copies")
        return cls(signal=max(known))


def _gives_back_an_input(record: RunRecord) -> bool:
    """Whether the targets are an input, up to noise: each column's mean within half a spread."""
    return any(
        given.shape == wanted.shape
        and len(wanted.feature_std) > 1
        and np.allclose(
            given.feature_mean, wanted.feature_mean, rtol=0, atol=np.max(wanted.feature_std) / 2
        )
        for given in (record.train.inputs if record.train else ())
        for wanted in (record.train.targets if record.train else ())
    )
