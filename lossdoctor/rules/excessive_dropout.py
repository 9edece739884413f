from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.dropout import DropoutUse, Dropped
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.architecture import change_layers, listed
from lossdoctor.rules._rule import Findings, Rule, threshold

_USUAL_RATE = 0.2


@dataclass(frozen=True, kw_only=True)
class ExcessiveDropout(Rule):
    """Dropout takes away more than the model can spare.

    **What it detects.** Rates above one half, layers so small that only a few units are left,
    several small layers in a regression, and dropout behind the head, where it zeroes the answers.

    **Why it matters.** What is left of a layer must carry the answer in every step. Beyond one half
    the noise grows faster than the regularization, and the loss stays high while the same model in
    inference mode does better. A rate of 0.8 is often meant as a keep probability of 0.8.

    **How it is measured.** From the configuration: rate, units, and whether any weights follow.

    **How to fix it.** A rate of 0.2 to 0.5 on wide hidden layers, none on narrow ones or behind
    the head.

    **When it is wrong.** Very wide layers can bear more. Dropout that stays on in inference
    (a subclass of one's own, as for Monte-Carlo estimates) is left alone; a run that learned
    anyway makes it INFO.

    **References.** Srivastava et al., Dropout (2014), section 7.3 and figure 9.
    """

    title = "Too much dropout"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = frozenset(
        {
            "constant_predictions",
            "loss_plateau",
            "noisy_gradients",
            "oscillating_loss",
            "train_inference_gap",
            "underfitting",
            "undertrained",
            "validation_below_training",
        }
    )

    rate: float = threshold(
        0.5,
        fires="above",
        unit="of the units",
        source="Srivastava et al. (2014): best rates lie between 0.2 and 0.5; 1/2 is the strongest",
    )
    kept_units: float = threshold(
        4.0,
        fires="below",
        unit="units left on average",
        source="with rate 1/2, fewer than 4 are left of 8: one step in 250 has none of 8 at all",
    )
    amplification: float = threshold(
        4.0,
        fires="above",
        unit="× what is left, to make up for what is dropped",
        source="steps along a kernel grow with the square of its inputs: 16 times at rate 3/4",
    )
    few_left: float = threshold(
        16.0,
        fires="below",
        unit="units left on average",
        source="the amplified sum of n units varies by 1/√n: a quarter of itself with 16",
    )
    noise: float = threshold(
        0.15,
        fires="above",
        unit="of the signal's variance, of all layers together, under squared error",
        source="rate / (1 - rate) / units each: sound regressions drawn have 0.05 at most, those "
        "that dropout at 1/2 of 16 units in three or four layers held at R² 0.2 to 0.8 have 0.25",
    )
    learned: float = threshold(
        0.9,
        fires="below",
        unit="share of what can be learned",
        source="a run that removed nine tenths of the errors could spare them",
    )

    def check(self, dropout: DropoutUse, outcome: TrainingOutcome | None) -> Findings:
        excesses = [(place, self._excess(place)) for place in dropout.places]
        places = [place for place, excess in excesses if excess is not None]
        measured = [excess for _, excess in excesses if excess is not None]
        if not places and dropout.squared and dropout.noise > self.noise:
            places, measured = list(dropout.places), [self.measure("noise", dropout.noise)]
        if not places:
            return
        learned = outcome is not None and outcome.share >= self.learned
        # No step size suits answers that come and go, or a few units multiplied many times.
        grave = any(place.behind_head or self._leaves_little(place) for place in places)
        yield self.finding(
            " ".join(_sentence(place) for place in places[:2])
            + (f" This run could spare them: {outcome.sentence}." if learned and outcome else ""),
            severity=Severity.INFO if learned else Severity.ERROR if grave else None,
            stage=Stage.DATA if grave else None,
            measurements=measured,
            layers=[place.layer.name for place in places],
            remedies=[
                Remedy(
                    text=f"Lower the rate in {listed([p.layer.name for p in places])}: 0.2 "
                    "regularizes without taking the signal away, 0 behind the head and on narrow "
                    "layers. More units or epochs would only make up for the loss.",
                    code=change_layers(
                        dropout.setup,
                        {place.layer.name: {place.setting: _better(place)} for place in places},
                    ),
                )
            ],
        )

    def _leaves_little(self, place: Dropped) -> bool:
        few = place.kept is not None and place.kept < self.few_left
        return few and place.amplification > self.amplification

    def _excess(self, place: Dropped) -> Measurement | None:
        if place.rate > self.rate or place.behind_head:
            return self.measure("rate", place.rate)
        if place.kept is not None and place.kept < self.kept_units:
            return self.measure("kept_units", place.kept)
        return None


def _better(place: Dropped) -> float:
    narrow = place.units is not None and place.units < 16
    return 0.0 if place.behind_head or narrow else _USUAL_RATE


def _sentence(place: Dropped) -> str:
    if place.behind_head:
        return f"'{place.layer.name}' drops {place.rate:.0%} of the answers themselves."
    left = "" if place.kept is None else f", which leaves {place.kept:.3g} of {place.units}"
    return f"'{place.layer.name}' drops {place.rate:.0%} of the units{left}."
