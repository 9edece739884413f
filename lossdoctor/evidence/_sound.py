"""Which sampled steps can be judged: after the first non-finite number everything is noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossdoctor.record.run import RunRecord, StepSeries

Flags = NDArray[np.bool_]


def sound_steps(steps: StepSeries) -> Flags:
    """True for every sampled step before the first non-finite one; skipped steps are left out.

    A step that loss scaling skipped has infinite gradients by design and changes nothing. Gradients
    nobody looked at count as finite: those of a step whose loss or biases' gradients are not are.
    """
    skipped = np.asarray(steps.skipped, dtype=bool)
    finite = (
        np.isfinite(np.asarray(steps.loss, dtype=np.float64))
        & np.asarray(steps.gradients_finite, dtype=bool)
        & np.asarray(steps.predictions_finite, dtype=bool)
    )
    until = np.logical_and.accumulate(finite | skipped)
    return np.asarray(until & ~skipped, dtype=bool)


def first_non_finite_step(record: RunRecord) -> int | None:
    """The step of the first non-finite number, None if there was none."""
    if record.non_finite is not None:
        return record.non_finite.step
    steps = record.steps
    if steps is None or not len(steps.step):
        return None
    broken = ~sound_steps(steps) & ~np.asarray(steps.skipped, dtype=bool)
    return int(steps.step[int(np.argmax(broken))]) if broken.any() else None


def first_non_finite_epoch(record: RunRecord) -> int | None:
    """The epoch of the first non-finite number, None if there was none."""
    if record.non_finite is not None:
        return record.non_finite.epoch
    step = first_non_finite_step(record)
    if step is None or record.steps is None:
        return None
    return int(record.steps.epoch[int(np.searchsorted(record.steps.step, step))])


def sound_rows(record: RunRecord) -> Flags:
    """True for every row of the record's variable series that belongs to a sound step."""
    assert record.variables is not None
    step = np.asarray(record.variables.step)
    if record.steps is None or not len(record.steps.step):
        return np.ones(len(step), dtype=bool)
    return np.isin(step, np.asarray(record.steps.step)[sound_steps(record.steps)])
