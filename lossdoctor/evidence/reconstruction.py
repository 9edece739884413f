"""Whether a model is to give back what it reads, as an autoencoder does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.record.run import RunRecord, TensorSummary


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The targets are an input, up to noise."""

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if not gives_back_an_input(record):
            raise NotApplicable("the targets are none of the inputs")
        return cls()


def gives_back_an_input(record: RunRecord) -> bool:
    """Whether the targets are an input: of several columns or channels up to noise, each mean
    within half a spread, of a single one the same mean and range."""
    return record.train is not None and any(
        given.shape == wanted.shape and _repeats(wanted, given)
        for given in record.train.inputs
        for wanted in record.train.targets
    )


def _repeats(wanted: TensorSummary, given: TensorSummary) -> bool:
    if len(wanted.feature_std) > 1:
        spread = np.max(wanted.feature_std)
        return np.allclose(given.feature_mean, wanted.feature_mean, rtol=0, atol=spread / 2)
    several = any(size != 1 for size in wanted.shape)
    return several and np.allclose(_range(given), _range(wanted), rtol=1e-6)


def _range(summary: TensorSummary) -> tuple[float, ...]:
    return summary.mean, summary.std, summary.min, summary.max
