from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lossdoctor.evidence.architecture import Architecture
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.architecture import change_layers, listed
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class MissingHiddenActivation(Rule):
    """Two layers of weights with nothing non-linear between them.

    **What it detects.** Dense and convolutional layers without activation whose output reaches the
    next such layer through linear operations only (dropout, flattening, averaging, batch
    normalization, ...).

    **Why it matters.** A linear function of a linear function is linear: the two layers can do no
    more than one. Without any activation the whole network is a linear or logistic regression,
    and a ring around another ring stays out of its reach however long it trains.

    **How it is measured.** On the model's graph, from each layer to what reads it.

    **How to fix it.** An activation in the first layer of each pair.

    **When it is wrong.** Linear pairs are meant in bottlenecks, up-convolutions, separable
    convolutions and projections into recurrence or attention, which are left out. On a linear
    problem nothing is lost; when the run solved its task, the finding is INFO.

    **References.** Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.1.
    """

    title = "No activation between hidden layers"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = frozenset({"loss_plateau", "underfitting", "constant_predictions"})

    solved: float = threshold(
        0.95,
        fires="below",
        unit="share of what can be learned",
        source="a linear model that leaves a twentieth of the errors has a linear task before it",
    )

    def check(self, architecture: Architecture, outcome: TrainingOutcome | None) -> Findings:
        pairs = architecture.linear_pairs
        if not pairs:
            return
        first = list(dict.fromkeys(pair.first.name for pair in pairs))
        solved = outcome is not None and outcome.share >= self.solved
        message = (
            f"Nothing non-linear stands between '{pairs[0].first.name}' and "
            f"'{pairs[0].second.name}'"
            + (f" and in {len(pairs) - 1} more places" if len(pairs) > 1 else "")
            + (
                ", so the model can only learn a linear function of its inputs."
                if architecture.is_linear_throughout
                else ", so the two do no more than one of them could."
            )
        )
        if solved and outcome is not None:
            message += f" For this task that is enough: {outcome.sentence}."
        activation = _usual_activation(architecture)
        yield self.finding(
            message,
            severity=Severity.INFO if solved else None,
            measurements=[
                Measurement(
                    name="linear pairs",
                    value=len(pairs),
                    unit="pairs of layers",
                    threshold=0,
                    fires="above",
                )
            ],
            layers=first,
            remedies=[
                Remedy(
                    text=f"Give {listed(first)} activation={activation!r}"
                    + (
                        ", which trains well at any depth."
                        if activation == "relu"
                        else ", as the model's other hidden layers have."
                    ),
                    code=change_layers(
                        architecture.setup, {name: {"activation": activation} for name in first}
                    ),
                )
            ],
        )


def _usual_activation(architecture: Architecture) -> str:
    used = Counter(
        layer.activation
        for layer in architecture.hidden_weighted
        if layer.activation in ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh")
        and layer.class_name not in ("LSTM", "GRU", "SimpleRNN")
    )
    common = used.most_common(1)
    return str(common[0][0]) if common else "relu"
