from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.recurrence import Recurrence
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.architecture import change_layers, listed
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class ReluRecurrent(Rule):
    """A recurrent layer whose state has no upper bound.

    **What it detects.** LSTM, GRU or SimpleRNN with relu or another unbounded activation.

    **Why it matters.** The state is multiplied by the same matrix at every time step. tanh keeps it
    within ±1; without a bound it grows geometrically as soon as one direction is amplified, and
    the loss becomes huge or NaN at some batch, at any learning rate. Keras also leaves its fast
    kernel for such a layer.

    **How it is measured.** From the layer's configuration and the length of its sequences.

    **How to fix it.** tanh, which is the default.

    **When it is wrong.** Over a few time steps there is nothing to grow; an identity-initialized
    relu network (IRNN) is built for it and left alone; a run that learned anyway makes it INFO.

    **References.** Le, Jaitly and Hinton, A simple way to initialize recurrent networks of
    rectified linear units (2015).
    """

    title = "Unbounded recurrent activation"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = UNSTABLE | STUCK

    time_steps: float = threshold(
        10.0,
        fires="above",
        unit="time steps",
        source="a state that grows by a quarter per step, as after some training, grows tenfold "
        "in ten",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="a run that removed three quarters of the errors kept its state in bounds",
    )

    def check(self, recurrence: Recurrence, outcome: TrainingOutcome | None) -> Findings:
        unbounded = [
            cell
            for cell in recurrence.unbounded
            if cell.time_steps is None or cell.time_steps > self.time_steps
        ]
        if not unbounded:
            return
        names = [cell.layer.name for cell in unbounded]
        longest = max((cell.time_steps or 0 for cell in unbounded), default=0)
        learned = outcome is not None and outcome.share >= self.learned
        over = f" over {longest} time steps" if longest else ""
        yield self.finding(
            f"{listed(names)} {'feed' if len(names) > 1 else 'feeds'} "
            f"{unbounded[0].layer.activation} outputs back{over}, which nothing keeps from growing"
            + (f"; here it went well: {outcome.sentence}." if learned and outcome else "."),
            severity=Severity.INFO if learned else None,
            measurements=[self.measure("time_steps", longest)] if longest else [],
            layers=names,
            remedies=[
                Remedy(
                    text='Use activation="tanh", the default: it bounds the state itself, where '
                    "clipping or a smaller rate only bounds the step taken from it.",
                    code=change_layers(
                        recurrence.setup, {name: {"activation": "tanh"} for name in names}
                    ),
                )
            ],
        )
