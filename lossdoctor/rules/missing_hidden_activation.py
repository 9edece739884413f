from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.architecture import Architecture
from lossdoctor.evidence.probed import LinearReach
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Finding, Measurement, Severity, Stage
from lossdoctor.rules._remedies.architecture import activate, insert_hidden_layer, listed
from lossdoctor.rules._rule import Findings, Rule, threshold

HALF = 0.5
"""Whoever has learned half of a task is not kept from it by being linear."""


@dataclass(frozen=True, kw_only=True)
class MissingHiddenActivation(Rule):
    """Two layers of weights with nothing non-linear between them.

    **What it detects.** Dense and convolutional layers without activation whose output reaches the
    next such layer through linear operations only (dropout, flattening, averaging, batch
    normalization, ...); convolutions with nothing but max-pooling between them; and a model without
    a hidden layer before a task that is not linear.

    **Why it matters.** A linear function of a linear function is linear: the two layers can do no
    more than one. Without any activation the whole network is a linear or logistic regression,
    and a ring around another ring stays out of its reach however long it trains.

    **How it is measured.** On the model's graph, from each layer to what reads it. Whether a linear
    model is enough is seen from the best linear fit to the training rows: where it explains next
    to nothing of targets that other simple models, or each pattern of the inputs, determine, the
    finding is an ERROR.

    **How to fix it.** An activation in the first layer of each pair; a hidden layer where there is
    none.

    **When it is wrong.** Linear pairs are meant in bottlenecks, up-convolutions, separable
    convolutions and projections into recurrence or attention, which are left out. On a linear
    problem nothing is lost; when the run solved its task, the finding is INFO.

    **References.** Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.1.
    """

    title = "No activation between hidden layers"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = frozenset(
        {
            "constant_predictions",
            "loss_plateau",
            "low_learning_rate",
            "saturated_output",
            "underfitting",
            "undertrained",
        }
    )

    solved: float = threshold(
        0.95,
        fires="below",
        unit="share of what can be learned",
        source="a linear model that leaves a twentieth of the errors has a linear task before it",
    )

    linear_fit: float = threshold(
        0.25,
        fires="below",
        unit="of the targets' variance explained by the best linear function",
        source="0 for XOR, parity and rings; a classification that a line solves stays above 0.6",
    )
    out_of_reach: float = threshold(
        0.25,
        fires="above",
        unit="of the variance, explained by others and not by the best linear function",
        source="the same margin as for underfitting",
    )

    def check(
        self,
        architecture: Architecture,
        outcome: TrainingOutcome | None,
        reach: LinearReach | None,
    ) -> Findings:
        pairs = architecture.linear_pairs
        learned = outcome is not None and outcome.share >= HALF
        beyond = None
        if reach is not None and not learned and architecture.is_linear_throughout:
            beyond = self._beyond(reach)
        layers = [pair.first for pair in pairs] or architecture.only_maxima
        kind = "linear pairs" if pairs else "layers without activation"
        if not layers:
            if beyond is not None and reach is not None:
                yield self._no_hidden_layer(architecture, reach, beyond)
            return
        first = list(dict.fromkeys(layer.name for layer in layers))
        solved = outcome is not None and outcome.share >= self.solved
        message = _message(architecture, first)
        if beyond is not None and reach is not None:
            message = f"{message[:-1]}, and the best one explains {reach.r2:.0%} of these targets."
        if solved and outcome is not None:
            message += f" For this task that is enough: {outcome.sentence}."
        yield self.finding(
            message,
            severity=Severity.INFO if solved else Severity.ERROR if beyond else None,
            measurements=[Measurement(name=kind, value=len(layers)), *(beyond or ())],
            layers=first,
            remedies=[activate(architecture, first)],
        )

    def _beyond(self, reach: LinearReach) -> tuple[Measurement, ...] | None:
        """What shows that no linear model can solve this task; None where nothing does."""
        if reach.present is None or reach.r2 >= self.linear_fit:
            return None
        missed = reach.present - reach.r2
        if missed <= self.out_of_reach:
            return None
        return (self.measure("linear_fit", reach.r2), self.measure("out_of_reach", missed))

    def _no_hidden_layer(
        self, architecture: Architecture, reach: LinearReach, beyond: tuple[Measurement, ...]
    ) -> Finding:
        head = architecture.setup.head_layer()
        return self.finding(
            "The model has no hidden layer, so it can only learn a linear function of its inputs, "
            f"and the best one explains {reach.r2:.0%} of these targets.",
            title="No hidden layer",
            severity=Severity.ERROR,
            measurements=beyond,
            layers=[head.name] if head else [],
            remedies=[insert_hidden_layer(architecture.setup)],
        )


def _message(architecture: Architecture, first: list[str]) -> str:
    pairs = architecture.linear_pairs
    if not pairs:
        return (
            "No layer has an activation: the maxima of the pooling are all that keeps "
            f"{listed(first)} from acting as one linear function."
        )
    where = f"'{pairs[0].first.name}' and '{pairs[0].second.name}'"
    others = len(pairs) - 1
    more = f" and in {others} more place{'s' * (others > 1)}" if others else ""
    consequence = "the two do no more than one of them could"
    if architecture.is_linear_throughout:
        consequence = "the model can only learn a linear function of its inputs"
    return f"Nothing non-linear stands between {where}{more}, so {consequence}."
