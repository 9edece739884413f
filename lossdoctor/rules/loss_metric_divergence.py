from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.decisions import Decisions
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class LossMetricDivergence(Rule):
    """The loss says the model learns, its decisions say it does not, or the other way round.

    **What it detects.** A training loss well below a constant prediction's, from a model whose
    decisions are no better than always naming the most frequent class; or decisions that are
    mostly right under a loss worse than a constant's.

    **Why it matters.** Loss and metric look at the same predictions. Where only one of them
    improves, they are not computed from the same thing: a head whose logits the loss sees but
    `predict` does not, labels in an encoding only one of them understands.

    **How it is measured.** The error rate recomputed from predictions in inference mode after
    training, against that of the most frequent class, beside the position of the loss.

    **How to fix it.** By its cause; compare `model.predict(X)` with `y` by eye on ten rows.

    **When it is wrong.** With a rare class (1 in 100) a useful ranking may never cross the
    threshold of 0.5: then the loss is right and the decision threshold wrong.

    **References.** Keras 3 computes cross-entropies of softmax and sigmoid heads from their logits.
    """

    title = "Loss and decisions contradict each other"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE

    learned_by_loss: float = threshold(
        0.6,
        fires="below",
        unit="of a constant prediction's loss",
        source="reasoning: a model that removed 40 % of the loss separates its classes",
    )
    learned_by_decisions: float = threshold(
        0.05,
        fires="below",
        unit="of the most frequent class' errors avoided",
        source="reasoning: 0 is chance, 0.05 is within its error on 300 examples",
    )
    rarest: float = threshold(
        0.1,
        fires="below",
        unit="error rate of the most frequent class; below it decisions are not judged",
        source="reasoning: see When it is wrong",
    )

    def check(self, curve: LossCurve, decisions: Decisions, scale: LossScale) -> Findings:
        if curve.non_finite is not None:
            raise NotApplicable("the loss stopped being finite")
        if decisions.chance_error_rate < self.rarest:
            raise NotApplicable("nearly all examples are of one class")
        share = decisions.share
        by_loss = scale.end < self.learned_by_loss and share < self.learned_by_decisions
        if by_loss:
            yield self.finding(
                f"The loss ends {scale.place}, yet {decisions.error_rate:.0%} of "
                f"the decisions are wrong, as many as by naming one class for all.",
                measurements=[
                    self.measure("learned_by_loss", scale.end),
                    self.measure("learned_by_decisions", share),
                    Measurement(name="error rate", value=decisions.error_rate),
                ],
                remedies=[
                    Remedy(
                        text="Print predictions beside labels, before anything else: it shows at "
                        "once whether the head, the labels or the threshold is at odds.",
                        code="print(np.c_[np.asarray(model.predict(X[:10])).reshape(10, -1), "
                        "np.asarray(y[:10]).reshape(10, -1)])",
                    )
                ],
            )
