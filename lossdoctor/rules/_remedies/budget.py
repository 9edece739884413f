"""Remedies that change how long a run goes on."""

from __future__ import annotations

import math

from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.finding import Remedy

FACTOR = 5
FEWEST_STEPS = 2000


def longer(curve: LossCurve) -> int:
    """As many epochs as make at least 2,000 steps, and at least five times the present number."""
    enough = FEWEST_STEPS / curve.steps_per_epoch if curve.steps_per_epoch else 0
    return max(FACTOR * max(1, len(curve.loss)), math.ceil(enough))


def train_longer(curve: LossCurve) -> Remedy:
    """The epochs that `longer` counts."""
    present, epochs = max(1, len(curve.loss)), longer(curve)
    return Remedy(
        text=f"Train for {epochs:,} epochs instead of {present:,}. With a validation "
        "set, EarlyStopping(patience=..., restore_best_weights=True) ends them when they no longer "
        "help.",
        code=f"epochs = {epochs}",
    )
