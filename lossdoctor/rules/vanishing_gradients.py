from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.gradient_flow import GradientFlow
from lossdoctor.evidence.memory import Memory
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.evidence.update_ratio import UpdateRatio
from lossdoctor.finding import Finding, Measurement, Onset, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.gradients import against_forgetting, against_vanishing
from lossdoctor.rules._rule import Findings, Rule, threshold

PERSISTENT = 0.75
"""Share of the sampled steps at which the gradient must be that faint."""


@dataclass(frozen=True, kw_only=True)
class VanishingGradients(Rule):
    """Gradients fade on their way back to the first layers, which therefore do not learn.

    **What it detects.** Layers near the input whose gradient is, through most of the run, over a
    thousand times fainter than the head's, and which either hardly move or belong to a model that
    has learned nothing. Recurrent models whose answers do not reach back to the steps that matter.

    **Why it matters.** Every layer multiplies the gradient by its weights and the slope of its
    activation. A sigmoid's slope is at most 0.25: ten of them leave a millionth. The first layers
    stay random, and what they lose of the input no later layer can bring back.

    **How it is measured.** Per layer, the root mean square over the non-zero entries of its
    gradient, divided by the head's, at sampled steps: the median over the run, and the share of
    steps below the threshold. Adam rescales faint gradients, so its updates are not small; there
    the loss decides, by whether it ever left that of a constant prediction. Over time: by the
    gradient of the answers at each step, and by what simple models find out of fold in the steps
    within reach, against all of them.

    **How to fix it.** relu with he initialization (slope 1, scale kept), normalization layers,
    residual connections, LSTM or GRU for a SimpleRNN. A higher learning rate is no cure: it
    enlarges the head's gradient by the same factor.

    **When it is wrong.** A converged run has small gradients in all layers alike and is silent, as
    are frozen layers, embeddings with few rows in use, and inputs that are mostly zero.

    **References.** Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen (1991). Glorot and
    Bengio, Understanding the difficulty of training deep feedforward neural networks (2010).
    """

    title = "Vanishing gradients"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = STUCK - {
        "saturated_activations",
        "saturated_output",
        "vanishing_gradients",
    }

    norm_ratio: float = threshold(
        1e-3,
        fires="below",
        unit="first / last layer, per parameter",
        source="AutoTrainer; measured: 38 healthy set-ups lie at 0.05 to 3, four sigmoid layers at "
        "2e-3, five at 5e-4 (no longer learn with SGD), ten at 1e-7 to 2e-6",
    )
    update_ratio: float = threshold(
        1e-5,
        fires="below",
        unit="of the weights per step",
        source="TorchMortem, DeepDiagnosis; measured: ten sigmoid layers under SGD at 3e-10 to "
        "1e-7, healthy first layers above 8e-5",
    )
    remaining: float = threshold(
        0.9,
        fires="above",
        unit="of a constant prediction's loss",
        source="measured: ten sigmoid layers end at 1.00 to 1.02 under SGD and Adam alike; six "
        "under Adam recover, end at 0.74, and are left alone",
    )

    out_of_reach: float = threshold(
        0.25,
        fires="above",
        unit="of the variance that only steps out of reach explain",
        source="as `underfitting`, which compares the same fits",
    )

    def check(
        self,
        flow: GradientFlow,
        updates: UpdateRatio,
        scale: LossScale | None,
        setup: Setup,
        memory: Memory | None,
        outcome: TrainingOutcome | None,
    ) -> Findings:
        if memory is not None and outcome is not None:
            missed = min(memory.out_of_reach, memory.signal - outcome.share)
            if missed > self.out_of_reach:
                yield self._over_time(memory, setup)
                return
        starved = flow.starved(self.norm_ratio)
        if not starved or flow.share_below(self.norm_ratio) < PERSISTENT:
            return
        moved = updates.typical(starved[0])
        failed = scale is not None and scale.end > self.remaining
        if not failed and not moved < self.update_ratio:
            return
        yield self.finding(
            f"'{starved[0]}' receives {flow.attenuation:,.0f} times less gradient per parameter "
            f"than '{flow.head}' ({len(starved)} layers below {self.norm_ratio:g}), and a step "
            f"moves it by {moved:.1e} of its size"
            + (f"; the loss ends {scale.place}." if scale else "."),
            severity=Severity.ERROR if failed else None,
            measurements=[
                self.measure("norm_ratio", 1 / flow.attenuation),
                self.measure("update_ratio", moved)
                if moved < self.update_ratio
                else Measurement(name="update ratio", value=moved),
                *([self.measure("remaining", scale.end)] if failed and scale else []),
                Measurement(name="starved layers", value=len(starved)),
            ],
            layers=starved,
            onset=Onset(epoch=0, step=int(flow.step[0])),
            remedies=against_vanishing(setup, starved),
        )

    def _over_time(self, memory: Memory, setup: Setup) -> Finding:
        return self.finding(
            f"The answers depend on no more than the last {memory.within} of {memory.steps} steps "
            f"that '{memory.cell.name}' reads, where simple models explain "
            f"{memory.signal_within:.0%} of the variance of unseen rows, {memory.signal:.0%} where "
            "they see all steps.",
            severity=Severity.ERROR,
            measurements=[self.measure("out_of_reach", memory.out_of_reach)],
            layers=[memory.cell.name],
            remedies=against_forgetting(setup, memory.cell),
        )
