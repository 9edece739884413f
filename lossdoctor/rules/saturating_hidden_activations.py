from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossdoctor.evidence.architecture import Architecture
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.record.run import LayerRecord
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.architecture import change_layers, listed
from lossdoctor.rules._rule import Findings, Rule, threshold

SOLVED = 0.9
"""A softmax in the middle slows a run more than it stops it: measured, 0.79 where relu has 0.91."""
_MEASURED = "measured with 30 units a layer on rings, a classification and a regression: "


@dataclass(frozen=True, kw_only=True)
class SaturatingHiddenActivations(Rule):
    """Too many sigmoid (or tanh) layers in a row for gradients to get through.

    **What it detects.** Chains of hidden layers with sigmoid activation, or very long ones with
    tanh, without a normalization layer between them; a softmax in a hidden layer.

    **Why it matters.** The slope of a sigmoid is at most 1/4, so each layer shrinks the gradient
    at least fourfold on its way back; after a few layers the first ones stand still. Its outputs
    also lie around 1/2 instead of 0, which makes all units of the next layer move alike. The slope
    of tanh reaches 1, so it carries much further. The units of a softmax share a sum of 1: of n
    units each puts out, and passes back, about one n-th.

    **How it is measured.** On the model's graph. Gates inside recurrent layers do not count.

    **How to fix it.** relu with He initialization; or a normalization layer between them.

    **When it is wrong.** Adam rescales faded gradients and can train such a chain on easy tasks:
    a run that learned anyway makes it INFO.

    **References.** Glorot and Bengio, Understanding the difficulty of training deep feedforward
    neural networks (2010).
    """

    title = "Saturating activations in a row"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = STUCK

    sigmoid_layers: float = threshold(
        2.0,
        fires="above",
        unit="sigmoid layers in a row",
        source=_MEASURED + "3 cost some accuracy, from 4 on SGD learned one of the three, from 6 "
        "on none",
    )
    tanh_layers: float = threshold(
        15.0,
        fires="above",
        unit="tanh layers in a row",
        source=_MEASURED + "up to 15 nothing is lost, 20 to 30 fail on the rings",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="a run that removed three quarters of the errors got its gradients through",
    )

    def check(self, architecture: Architecture, outcome: TrainingOutcome | None) -> Findings:
        learned = outcome is not None and outcome.share >= self.learned
        through = f"; this run got through: {outcome.sentence}." if learned and outcome else "."
        severity = Severity.INFO if learned else None
        solved = learned and outcome is not None and outcome.share >= SOLVED
        if softmaxes := architecture.hidden_softmaxes:
            names = [layer.name for layer in softmaxes]
            yield self.finding(
                f"{listed(names)}, before the head, end{'s' * (len(names) == 1)} in a softmax, "
                f"whose {softmaxes[0].units} units share a sum of 1{through if solved else '.'}",
                title="Softmax in a hidden layer",
                severity=Severity.INFO if solved else None,
                measurements=[
                    Measurement(
                        name="hidden softmax layers", value=len(names), threshold=0, fires="above"
                    )
                ],
                layers=names,
                remedies=[_relu(architecture, softmaxes, "its units answer independently")],
            )
        for run in architecture.saturating_runs:
            names = [layer.name for layer in run]
            sigmoids = sum("sigmoid" in (layer.activation or "") for layer in run)
            if sigmoids > self.sigmoid_layers:
                measured = self.measure("sigmoid_layers", sigmoids)
                text = f"{sigmoids} sigmoid layers"
            elif len(run) > self.tanh_layers:
                measured = self.measure("tanh_layers", len(run))
                text = f"{len(run)} tanh layers"
            else:
                continue
            yield self.finding(
                f"{text} stand in a row ({listed(names)}) without a normalization between them"
                f"{through}",
                severity=severity,
                measurements=[measured],
                layers=names,
                remedies=[
                    _relu(
                        architecture,
                        run,
                        "its slope is 1 wherever a unit is on, so the gradient keeps its size at "
                        "any depth. A larger learning rate would move the last layers only",
                    )
                ],
            )


def _relu(architecture: Architecture, layers: Sequence[LayerRecord], why: str) -> Remedy:
    changes = {
        layer.name: {"activation": "relu"}
        | ({"kernel_initializer": "he_uniform"} if layer.kernel else {})
        for layer in layers
    }
    return Remedy(
        text=f"Use relu with He initialization in {listed([*changes])}: {why}.",
        code=change_layers(architecture.setup, changes),
    )
