from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.evidence.predictions import Answers, ChanceLevel, Predictions
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.capacity import record_it
from lossdoctor.rules._remedies.code import compile_code
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class ConstantPredictions(Rule):
    """The model answers the same for every example.

    **What it detects.** Predictions whose spread over examples is next to nothing beside that of
    the targets; in a history alone, a loss that stands at ln C to four digits, or an accuracy
    that does not change by a digit while the loss does.

    **Why it matters.** A constant answer uses nothing of the input. It is the common end of many
    faults: a head that cannot vary, dead units, steps so large that all units saturate, labels
    unrelated to the inputs, inputs that are all alike.

    **How it is measured.** Standard deviation of the recorded predictions over examples, divided
    by that of the targets. With a ratio of s the answers can explain 2s of the variance at most.

    **How to fix it.** Cure the finding that explains this one. Where there is none: answers that
    varied before training were lost to steps that are too large; answers that never varied to
    the inputs or the initialization.

    **When it is wrong.** When the targets are constant too (then it does not apply), or on inputs
    without any signal, where the constant is the right answer.

    **References.** Humbatova et al., Taxonomy of real faults in deep learning systems (2020).
    """

    title = "The same prediction for every example"
    severity = Severity.ERROR
    stage = Stage.ARCHITECTURE
    explains = frozenset({"loss_metric_divergence", "loss_plateau", "underfitting"})

    relative_spread: float = threshold(
        0.01,
        fires="below",
        unit="spread of predictions / spread of targets",
        source="Algebra: answers with a spread ratio of s reach R² = 2s - s² at best, here 2 %.",
    )

    def check(self, predictions: Predictions | None, chance: ChanceLevel | None) -> Findings:
        if predictions is not None:
            for answers in predictions.answers:
                if answers.spread < self.relative_spread:
                    yield self._constant(predictions.setup, answers)
        elif chance is not None:
            yield from self._from_logs(chance)
        else:
            raise NotRecorded("the predictions: run with LossDoctor()")

    def _constant(self, setup: Setup, answers: Answers) -> Finding:
        collapsed = (
            answers.initial_spread is not None and answers.initial_spread > self.relative_spread
        )
        return self.finding(
            f"Predictions of {answers.head.label} lie between {answers.low:.4g} and "
            f"{answers.high:.4g} with {answers.spread:.2%} of the spread of the targets"
            f"{', though they varied before training' if collapsed else ''}.",
            measurements=[self.measure("relative_spread", answers.spread)],
            layers=answers.head.layer_names,
            remedies=[_smaller_steps(setup) if collapsed else _look_at_inputs()],
        )

    def _from_logs(self, chance: ChanceLevel) -> Findings:
        if chance.classes is not None:
            sentence = (
                f"The loss stands at {chance.loss:.4f} = ln {chance.classes}, that of answering "
                f"1/{chance.classes} to everything."
            )
        elif chance.frozen_accuracy is not None:
            sentence = (
                f"The accuracy is {chance.frozen_accuracy:.4f} in each of {chance.epochs} epochs "
                "while the loss changes: every example gets the same class."
            )
        else:
            return
        yield self.finding(
            sentence,
            severity=Severity.WARNING,
            measurements=[Measurement(name="final loss", value=chance.loss)],
            remedies=[record_it("head, labels, gradients and predictions together tell why")],
        )


def _smaller_steps(setup: Setup) -> Remedy:
    rate = setup.optimizer.learning_rate if setup.optimizer else None
    text = "Start again from fresh weights with a tenth of the learning rate: the answers varied "
    return Remedy(
        text=text + "before training, so the steps took that from them.",
        code="" if rate is None else compile_code(setup, learning_rate=rate / 10),
    )


def _look_at_inputs() -> Remedy:
    return Remedy(
        text="See whether the inputs vary, then whether the first layer's outputs do: what never "
        "varied was lost before the head.",
        code="print(np.std(X, axis=0))\n"
        "first = keras.Model(model.inputs, model.layers[0].output)\n"
        "print(np.std(first.predict(X), axis=0))",
    )
