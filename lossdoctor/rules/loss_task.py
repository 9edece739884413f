from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from lossdoctor.evidence.label_encoding import Judged, Kind
from lossdoctor.evidence.output_head import Head, LossFamily
from lossdoctor.evidence.step_size import SHORT_TRAVEL, StepSize
from lossdoctor.evidence.task_fit import Mismatch, TaskFit
from lossdoctor.finding import Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.labels import agree, for_task
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class LossTask(Rule):
    """The loss, the head and the labels belong to different tasks.

    **What it detects.** A regression loss on class ids or one-hot rows; a classification loss on
    continuous targets; a softmax head under binary cross-entropy; a sigmoid head of several
    units, or labels with several ones per row, under a categorical loss; cosine similarity of
    single numbers.

    **Why it matters.** Squared errors of class ids say that class 2 is twice class 1, and on
    probabilities their gradient fades exactly where the model is confidently wrong. Keras 3
    trains a sigmoid head under a categorical loss as a softmax, on the logits behind it, and the
    reverse, so the curve looks right while `predict` returns scores that are no probabilities.

    **How it is measured.** From the kind of the targets, the head's activation, the loss, and
    whether an accuracy was compiled; where a run was recorded, also from its error rate.

    **How to fix it.** The loss and the head of the task the labels show.

    **When it is wrong.** Ordinal targets (ratings) may be regressed on: without an accuracy that
    is INFO. So are squared errors on 0/1 labels, and on one-hot rows until a run has shown that
    it does not learn by them: mostly they work.

    **References.** Golik, Doetsch and Ney, Cross-entropy vs. squared error training (2013).
    `tests/test_keras_facts.py` trains the cases Keras hides.
    """

    title = "Loss for another task"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = (
        STUCK
        | UNSTABLE
        | {
            "final_activation_range",
            "metric_task",
            "missing_final_activation",
            "negative_loss",
            "unscaled_targets",
        }
    )

    stuck_share: float = threshold(
        0.05,
        fires="above",
        unit="share of examples predicted 0 or 1 and wrong",
        source="Reasoning: their squared error has no gradient through the sigmoid, cross-entropy "
        "has its largest; one in twenty is more than label noise.",
    )

    def check(self, fit: TaskFit, sizes: StepSize | None) -> Findings:
        # A run that hardly moved its weights has shown nothing about its loss.
        moved = sizes is None or sizes.travel >= SHORT_TRAVEL
        for judged, mismatch in fit.mismatched:
            head, labels = judged.head, judged.labels
            contract, text = for_task(judged)
            stuck = head.pairing.saturated_wrong if head.pairing else None
            finding = self.finding(
                f"{head.loss.name} judges {head.label} (activation {head.activation or 'unknown'}) "
                f"by {labels.described}: {_CONSEQUENCE[mismatch]}.",
                severity=self._severity(fit, judged, mismatch, moved),
                measurements=[] if stuck is None else [self.measure("stuck_share", stuck)],
                layers=head.layer_names,
                remedies=[agree(fit.setup, judged, contract, text)],
            )
            # Squared errors slow the training of a sound program: what stops it comes first.
            slows = mismatch is Mismatch.ROWS_AS_QUANTITIES
            yield dataclasses.replace(finding, stage=Stage.STEP_SIZE) if slows else finding

    def _severity(self, fit: TaskFit, judged: Judged, mismatch: Mismatch, moved: bool) -> Severity:
        head, kind = judged.head, judged.labels.kind
        if mismatch is Mismatch.IDS_AS_QUANTITIES:
            return Severity.ERROR if head.index in fit.accuracy_asked else Severity.INFO
        if mismatch is Mismatch.BITS_AS_QUANTITIES:
            stuck = head.is_sigmoid and self._is_stuck(head)
            return Severity.WARNING if stuck else Severity.INFO
        if mismatch is Mismatch.ROWS_AS_QUANTITIES:
            return Severity.WARNING if head.learned is False and moved else Severity.INFO
        if mismatch is Mismatch.SOFTMAX_AS_SIGMOIDS:
            one_per_row = kind in (Kind.ONE_HOT, Kind.DISTRIBUTIONS)
            return Severity.WARNING if one_per_row else Severity.ERROR
        if mismatch is Mismatch.SIGMOIDS_AS_SOFTMAX:
            hidden = judged.family is not LossFamily.DIVERGENCE
            return Severity.WARNING if hidden else Severity.ERROR
        return Severity.ERROR

    def _is_stuck(self, head: Head) -> bool:
        wrong = head.pairing.saturated_wrong if head.pairing else None
        return wrong is not None and wrong > self.stuck_share


_CONSEQUENCE = {
    Mismatch.QUANTITIES_AS_CLASSES: "it tells classes apart, and these are quantities",
    Mismatch.IDS_AGAINST_SCORES: "each class id is subtracted from the score of every class",
    Mismatch.IDS_AS_QUANTITIES: "if these are classes and not grades, their order is arbitrary",
    Mismatch.ROWS_AS_QUANTITIES: "its gradient fades where the model is confidently wrong",
    Mismatch.BITS_AS_QUANTITIES: "it works, with less gradient on confident mistakes than "
    "cross-entropy",
    Mismatch.ANGLE_OF_NUMBERS: "between single numbers only the sign counts, and has no gradient",
    Mismatch.SOFTMAX_AS_SIGMOIDS: "Keras trains every unit as a sigmoid of its own, on the logits, "
    "and `predict` returns a softmax that was not trained",
    Mismatch.SIGMOIDS_AS_SOFTMAX: "nothing holds the units against each other in what `predict` "
    "returns",
    Mismatch.SEVERAL_ONES: "its probabilities sum to 1 over the classes and these labels do not",
}
