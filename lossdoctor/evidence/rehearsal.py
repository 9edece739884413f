"""What the rehearsal of the first training steps shows of the planned learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.loss_curve import MARGIN
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import rounded
from lossdoctor.record.run import OptimizerRecord, RunRecord


@dataclass(frozen=True, kw_only=True)
class RehearsedTraining:
    """The first steps, rehearsed at the planned learning rate and, if the loss rose, below it.

    Attributes:
        rate: The planned learning rate, at the peak of a schedule.
        losses: Loss of each step rehearsed at it, up to the first that is not finite.
        reference: The initial loss, or that of the best constant prediction where it is higher.
        rise: How far the second half of `losses` stands above it, in units of what there is to
            learn; infinite where the loss did not stay finite.
        lowest_rate: The lowest rate rehearsed.
        calm_rate: The largest rate rehearsed that stayed calm; None if none did.
        sharpness: λ, the largest curvature where the calm rehearsal ends, as the optimizer's steps
            see it; None where not measured.
        secant: The median curvature along the steps of the calm rehearsal, likewise.
    """

    setup: Setup
    rate: float
    losses: NDArray[np.float64]
    reference: float
    rise: float
    lowest_rate: float
    calm_rate: float | None
    sharpness: float | None
    secant: float | None

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if record.source != "config":
            raise NotApplicable("only asked before training: the run itself shows it")
        if record.rehearsal is None:
            raise NotRecorded.of(record, "the rehearsal", "pass x= to check_config")
        rehearsal = record.rehearsal
        planned = rehearsal.trials[0]
        return cls(
            setup=Setup.from_record(record),
            rate=planned.rate,
            losses=np.asarray(planned.losses, dtype=np.float64),
            reference=rehearsal.reference,
            rise=rehearsal.rise(planned),
            lowest_rate=min(trial.rate for trial in rehearsal.trials),
            calm_rate=rehearsal.calm_rate,
            sharpness=rehearsal.sharpness,
            secant=rehearsal.secant,
        )

    @property
    def late(self) -> float:
        """The mean loss of the second half of the steps."""
        return float(self.losses[len(self.losses) // 2 :].mean())

    @property
    def proposed_rate(self) -> float | None:
        """Half the largest calm rate, rounded down."""
        return None if self.calm_rate is None else rounded(MARGIN * self.calm_rate)

    @property
    def curvature_rate(self) -> float | None:
        """The largest stable rate by curvature alone; None where that is not known."""
        limit = stable_product(self.setup.optimizer)
        return None if limit is None or self.sharpness is None else limit / self.sharpness


def stable_product(optimizer: OptimizerRecord | None) -> float | None:
    """The largest stable learning rate x λ on a quadratic loss of (preconditioned) curvature λ.

    2 for plain steps, 2(1 + β) with momentum, (2 + 2β)/(1 + 2β) with Nesterov's, and
    (2 + 2β₁)/(1 - β₁) for Adam, whose momentum is an average (Cohen et al. 2022): 38 at β₁ = 0.9.
    """
    if optimizer is None or optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue:
        return None
    if optimizer.class_name in ("Adam", "AdamW"):
        mean = optimizer.beta_1 or 0.0
        return (2 + 2 * mean) / (1 - mean)
    if optimizer.class_name not in ("SGD", "RMSprop", "Adagrad"):
        return None
    momentum = optimizer.momentum
    return 2 * (1 + momentum) / ((1 + 2 * momentum) if optimizer.nesterov else 1)
