from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import Baseline
from lossdoctor.evidence.generalization import Generalization
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule, threshold

FEWEST_EPOCHS = 5
RANDOM = ("Dropout", "Noise")


@dataclass(frozen=True, kw_only=True)
class ValidationBelowTraining(Rule):
    """The validation loss lies below the training loss, which mostly has harmless reasons.

    **What it detects.** A validation loss that is lower than the training loss nearly always.

    **Why it matters.** It is often taken for a leak or a bug. Mostly it is neither: dropout and
    noise make the training loss worse than the model is, and Keras reports the average over an
    epoch during which the model improves, but validates at the epoch's end.

    **How it is measured.** Validation against training loss in the second half of the run, and the
    loss of the training rows in inference mode after training, where it was recorded.

    **How to fix it.** Nothing, where the training rows in inference mode are as good. Otherwise
    see whether the validation rows are easier, or also stand in the training data.

    **When it is wrong.** On a small validation set the difference may be chance.

    **References.** Keras FAQ: "Why is my training loss much higher than my testing loss?"
    """

    title = "Validation loss below training loss"
    severity = Severity.INFO
    stage = Stage.BUDGET

    deficit: float = threshold(
        0.1,
        fires="above",
        unit="of the training loss",
        source="sk-autod takes 0.1; below it the running average of an epoch alone explains it",
    )
    epochs: float = threshold(
        0.8,
        fires="above",
        unit="of the epochs",
        source="reasoning: chance alone puts it below in half of them",
    )

    def check(
        self, curves: Generalization, baseline: Baseline | None, setup: Setup | None
    ) -> Findings:
        if len(curves.validation) < FEWEST_EPOCHS:
            raise NotApplicable("too few validated epochs")
        if curves.train.min() < 0 or curves.validation.min() < 0:
            raise NotApplicable("of a negative loss no share can be told")
        deficit, share = curves.late_deficit, curves.share_below
        if deficit <= self.deficit or share <= self.epochs:
            return
        trained = baseline.trained if baseline else None
        context = (
            [Measurement(name="training rows in inference mode", value=trained)]
            if trained is not None
            else []
        )
        yield self.finding(
            f"The validation loss lies {deficit:.0%} below the training loss in the second half "
            f"of the run, {_reason(curves, trained, setup)}.",
            measurements=[
                self.measure("deficit", deficit),
                self.measure("epochs", share),
                *context,
            ],
            remedies=[Remedy(text="Compare both sides in the same mode: model.evaluate(X, y).")],
        )


def _reason(curves: Generalization, trained: float | None, setup: Setup | None) -> str:
    layers = setup.model.layers if setup else ()
    noisy = next((x.name for x in layers if any(k in x.class_name for k in RANDOM)), None)
    if trained is not None and trained <= curves.end:
        cause = f"because '{noisy}' acts in training only" if noisy else "a matter of when"
        return f"{cause}: in inference mode the training rows cost {trained:.4g} at the end"
    if setup and setup.fit.class_weight:
        return "as class weights count in training only"
    if noisy:
        return f"as it does where a layer like '{noisy}' acts in training only"
    if trained is not None:
        return "and that is no matter of mode: the validation rows are easier for this model"
    return "for a reason the curves alone do not tell (dropout, a quick fall within each epoch)"
