from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.class_balance import Balance, ClassBalance
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class ClassImbalance(Rule):
    """One class is so rare that a model does well by never answering it.

    **What it detects.** A class with less than a tenth of its fair share of the examples, while
    neither class weights nor sample weights make up for it; weights that leave a class as little.

    **Why it matters.** The mean loss counts every example alike, so a class of 1 % contributes 1 %
    of the gradient: answering the frequent class always is 99 % accurate. Accuracy then says
    nothing about the class one usually cares for.

    **How it is measured.** Count of the rarest class that occurs ÷ (examples ÷ classes); with
    weights, its share of their sum.

    **How to fix it.** Weights inverse to the frequency; a metric that looks at the rare class.

    **When it is wrong.** Where probabilities must match the true frequencies, weights distort
    them. With metrics chosen for rare classes (precision, recall, AUC), or after a run that told
    the classes apart, it is INFO.

    **References.** He and Garcia, Learning from imbalanced data (2009).
    """

    title = "Rare class"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = frozenset(
        {
            "constant_predictions",
            "loss_metric_divergence",
            "loss_plateau",
            "underfitting",
            "undertrained",
            "validation_shift",
        }
    )

    fair_share: float = threshold(
        0.1,
        fires="below",
        unit="of its fair share",
        source="cleanlab's default; at a tenth the other classes outvote it ten to one",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="measured against answering the most frequent class always, so the rare ones count",
    )

    def check(self, balance: ClassBalance, outcome: TrainingOutcome | None) -> Findings:
        learned = outcome is not None and outcome.share >= self.learned
        for output in balance.outputs:
            if balance.weighted:
                yield from self._by_weights(output, learned)
            if output.fair_share >= self.fair_share or balance.weighted:
                continue
            known = output.rare_metrics or learned
            yield self.finding(
                f"Class {output.labels[0]} has {output.counts[0]:,} of {sum(output.counts):,} "
                f"examples, {output.fair_share:.1%} of its fair share"
                + (
                    "; always answering the most frequent class is "
                    f"{output.counts[-1] / sum(output.counts):.1%} accurate."
                ),
                severity=Severity.INFO if known else None,
                measurements=[self.measure("fair_share", output.fair_share)],
                layers=output.judged.head.layer_names,
                remedies=[_weigh(output)],
            )

    def _by_weights(self, output: Balance, learned: bool) -> Findings:
        label, share = output.lightest or (0, 1.0)
        if share < self.fair_share:
            yield self.finding(
                f"The weights given leave class {label} only {share:.1%} of its fair share: the "
                "loss hardly notices whether it is right.",
                title="A class the weights silence",
                severity=Severity.INFO if learned else None,
                measurements=[self.measure("fair_share", share)],
                layers=output.judged.head.layer_names,
                remedies=[_weigh(output)],
            )


def _weigh(output: Balance) -> Remedy:
    text = (
        "Weigh the classes inversely to their frequency, so that each contributes alike to the "
        "gradient; this keeps every example, which leaving out frequent ones would not. Judge the "
        "result by precision and recall, not by accuracy."
    )
    table = ", ".join(f"{label}: {weight}" for label, weight in output.weights.items())
    if output.keyed:
        code = f"class_weight = {{{table}}}  # model.fit(X, y, class_weight=class_weight, ...)"
    else:
        code = (
            f"weight = {{{table}}}\n"
            "sample_weight = np.array([weight[int(label)] for label in np.ravel(y)])\n"
            "# model.fit(X, y, sample_weight=sample_weight, ...)"
        )
    return Remedy(text=text, code=code)
