"""`lossdoctor validate --random`: random set-ups, random faults, and how often the doctor is right.

A drawn set-up counts as healthy when it trains to a good score and its validation loss does not end
at more than twice its lowest; a drawn fault counts when the score, recomputed from predictions, is
clearly lower for it (or `fit` raises). Of two faults at once, both are also trained alone, so that
the truth rests on which of them does harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lossdoctor.cases import Case, Proof
from lossdoctor.validation.tally import Judged, RandomResult
from lossdoctor.validation.training import (
    Training,
    examine,
    fresh,
    in_processes,
    load,
    measure,
    noting,
    save,
    stem,
    train,
)

if TYPE_CHECKING:
    from rich.console import Console

    from lossdoctor.cases.random import Broken


def validate_random(
    numbers: Iterable[int],
    *,
    seed: int = 1,
    jobs: int = 1,
    records: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> RandomResult:
    """Draw random set-ups, break them, train both, and score what the doctor says.

    Args:
        numbers: Numbers of the set-ups to draw, such as `range(100)`. Those that do not train
            well, or that no fault hurts, are left out of the score.
        seed: Every case follows from this and its number.
        jobs: How many processes train at the same time.
        records: A folder for the records of all runs, in which a later call finds them: it trains
            only what is missing and judges the rest again in seconds.
        console: Where progress is shown; by default the terminal's standard error.

    Raises:
        ValueError: If `jobs` is below 1, or `seed` or a number below 0.
    """
    if jobs < 1:
        raise ValueError(f"`jobs` must be at least 1. Received: {jobs}.")
    chosen = sorted(set(numbers))
    if seed < 0 or not chosen or chosen[0] < 0:
        raise ValueError(
            "`numbers` must name at least one case, and neither they nor `seed` may be negative. "
            f"Received: numbers={chosen[:10]}, seed={seed}."
        )
    folder = None if records is None else Path(records)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    tasks = [_Task(seed, index, folder) for index in chosen]
    judged = in_processes(_judge, tasks, jobs, console, lambda judged: judged.title)
    return RandomResult(judged=tuple(sorted(judged, key=lambda judged: judged.index)))


@dataclass(frozen=True)
class _Task:
    seed: int
    index: int
    folder: Path | None


def _judge(task: _Task) -> Judged:
    from lossdoctor.cases.random import draw

    drawn = draw(task.seed, task.index)
    healthy = drawn.healthy
    proofs = {b.case.proof.claim: b.case.proof for b in drawn.broken}
    proofs[healthy.proof.claim] = healthy.proof
    at_best = _trained(healthy, task, tuple(proofs.values()))
    if at_best.measures[healthy.proof.claim] < (healthy.passing or 0.0) or _overtrained(at_best):
        return Judged(index=task.index, title=healthy.title)
    examination = examine(healthy, task.index, at_best)
    for broken in drawn.broken:
        worse = _trained(broken.case, task, (broken.case.proof,))
        if _hurts(broken.case, worse, at_best):
            harmful = _harmful(broken, at_best, task)
            return Judged(
                index=task.index,
                title=healthy.title,
                healthy=examination,
                broken=examine(broken.case, task.index, worse),
                truth=broken.truth(harmful),
                causes=broken.causes(harmful),
            )
    return Judged(index=task.index, title=healthy.title, healthy=examination)


def _overtrained(training: Training) -> bool:
    """Whether the validation loss ends at more than twice its lowest: nothing healthy."""
    history = training.run.history if training.run else None
    losses = history.logs.get("val_loss") if history else None
    return losses is not None and bool(losses[-1] > 2 * np.nanmin(losses) > 0)


def _trained(case: Case, task: _Task, proofs: Sequence[Proof]) -> Training:
    kept_at = stem(task.folder, case, task.index)
    training = load(kept_at, [proof.claim for proof in proofs])
    if training is None:
        training = train(case, task.index, proofs)
        save(kept_at, training)
    return training


def _hurts(case: Case, training: Training, healthy: Training) -> bool:
    proof = case.proof
    return healthy.measures[proof.claim] - training.measures[proof.claim] >= proof.by


def _harmful(broken: Broken, healthy: Training, task: _Task) -> tuple[bool, ...]:
    """Which of the faults do harm alone."""
    if not broken.alone:
        return (True,)
    return tuple(_hurts(case, _trained_alone(case, task), healthy) for case in broken.alone)


def _trained_alone(case: Case, task: _Task) -> Training:
    """Trained without the doctor: only the score is asked for."""
    kept_at = stem(task.folder, case, task.index)
    training = load(kept_at, [case.proof.claim])
    if training is None:
        training = Training()
        trial = fresh(case, task.index)
        with noting(training.trouble, "fit"):
            trial.train(validate=False)
        training.measures = {case.proof.claim: measure(trial, case.proof)}
        save(kept_at, training)
    return training
