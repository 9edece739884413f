from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.architecture import Architecture
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.architecture import change_layers, listed
from lossdoctor.rules._rule import Findings, Rule, threshold

_MEASURED = "measured with 30 units a layer on rings, a classification and a regression: "


@dataclass(frozen=True, kw_only=True)
class SaturatingHiddenActivations(Rule):
    """Too many sigmoid (or tanh) layers in a row for gradients to get through.

    **What it detects.** Chains of hidden layers with sigmoid activation, or very long ones with
    tanh, without a normalization layer between them.

    **Why it matters.** The slope of a sigmoid is at most 1/4, so each layer shrinks the gradient
    at least fourfold on its way back; after a few layers the first ones stand still. Its outputs
    also lie around 1/2 instead of 0, which makes all units of the next layer move alike. The slope
    of tanh reaches 1, so it carries much further.

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
            learned = outcome is not None and outcome.share >= self.learned
            yield self.finding(
                f"{text} stand in a row ({listed(names)}) without a normalization between them"
                + (f"; this run got through: {outcome.sentence}." if learned and outcome else "."),
                severity=Severity.INFO if learned else None,
                measurements=[measured],
                layers=names,
                remedies=[
                    Remedy(
                        text=f"Use relu with He initialization in {listed(names)}: its slope is 1 "
                        "wherever a unit is on, so the gradient keeps its size at any depth. A "
                        "larger learning rate would move the last layers only.",
                        code=change_layers(
                            architecture.setup,
                            {
                                layer.name: {"activation": "relu"}
                                | ({"kernel_initializer": "he_uniform"} if layer.kernel else {})
                                for layer in run
                            },
                        ),
                    )
                ],
            )
