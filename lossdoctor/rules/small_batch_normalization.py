from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.normalization import BatchStatistics, Normalization
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Finding, Remedy, Severity, Stage
from lossdoctor.rules._remedies.architecture import change_layers, listed, replace_normalization
from lossdoctor.rules._rule import Findings, Rule, threshold

_USUAL_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class SmallBatchNormalization(Rule):
    """Normalization over too few values.

    **What it detects.** `BatchNormalization` whose mean and variance rest on a handful of values,
    or whose moving statistics cannot settle within the run; `LayerNormalization` of one value.

    **Why it matters.** In training each batch is normalized by its own statistics. Over n values
    the standard deviation is off by 1/√(2n): the same example gets another answer in every batch.
    Of two values only the order is left, of one nothing. Inference uses moving statistics instead,
    so training and validation see different models.

    **How it is measured.** Batch size × positions per channel; momentum to the power of the number
    of steps, which is the weight the start of 0 and 1 still has at the end.

    **How to fix it.** Larger batches; where memory forbids, LayerNormalization; momentum 0.9 for
    short runs.

    **When it is wrong.** The last, smaller batch of an epoch does no harm and is not counted; a
    run that learned anyway makes it INFO.

    **References.** Wu and He, Group normalization (2018), figure 1.
    """

    title = "Batch statistics of too few values"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = frozenset(
        {"constant_predictions", "dead_units", "high_learning_rate", "loss_plateau"}
        | {"noisy_gradients", "oscillating_loss", "overconfidence", "overfitting"}
        | {"train_inference_gap", "underfitting"}
    )

    values: float = threshold(
        8.0,
        fires="below",
        unit="values per channel and batch",
        source="Wu and He (2018): errors rise steeply below 8; 1/√(2n) is then above 25 %",
    )
    unsettled: float = threshold(
        0.5,
        fires="above",
        unit="weight of the start in the moving statistics",
        source="beyond one half, inference rests more on 0 and 1 than on the data",
    )
    learned: float = threshold(
        0.9,
        fires="below",
        unit="share of what can be learned",
        source="measured in inference mode: nine tenths of the errors are gone all the same",
    )

    def check(self, normalization: Normalization, outcome: TrainingOutcome | None) -> Findings:
        if alone := [layer.name for layer in normalization.alone]:
            yield self.finding(
                f"{listed(alone)}: less its own mean a single value is 0, for every example.",
                title="Normalization of a single value",
                severity=Severity.ERROR,
                measurements=[self.measure("values", 1)],
                layers=alone,
                remedies=[Remedy(text="Leave it out; scale the inputs as data instead.")],
            )
        learned = outcome is not None and outcome.share >= self.learned
        few = [found for found in normalization.layers if found.values < self.values]
        if few:
            yield self._few_values(normalization, few, learned)
        slow = [f for f in normalization.layers if (f.unsettled or 0.0) > self.unsettled]
        if slow:
            yield self._unsettled(normalization, slow, learned)

    def _few_values(
        self, normalization: Normalization, few: list[BatchStatistics], learned: bool
    ) -> Finding:
        names = [found.layer.name for found in few]
        fewest = min(found.values for found in few)
        room = normalization.rows >= 2 * _USUAL_BATCH
        fewer_steps = normalization.batch_size / _USUAL_BATCH
        lagging = [f.layer.name for f in normalization.layers if f.unsettled_after(fewer_steps)]
        larger = Remedy(
            text=f"Train in batches of {_USUAL_BATCH}: their statistics are off by a few percent "
            "instead of deciding the answer. The learning rate can stay."
            + (" With momentum 0.9 the fewer steps suffice for the moving ones." * bool(lagging)),
            code="\n".join(
                filter(
                    None, [_follow_faster(normalization, lagging), f"batch_size = {_USUAL_BATCH}"]
                )
            ),
        )
        other = Remedy(
            text="Or normalize each example by itself, which no batch size can disturb.",
            code=replace_normalization(normalization.setup),
        )
        return self.finding(
            f"{listed(names)} {'normalize' if len(names) > 1 else 'normalizes'} by the mean and "
            f"spread of {fewest} value{'s' if fewest > 1 else ''} (batches of "
            f"{normalization.batch_size}).",
            severity=_severity(learned, hopeless=fewest == 1),
            measurements=[self.measure("values", fewest)],
            layers=names,
            remedies=[larger, other] if room else [other],
        )

    def _unsettled(
        self, normalization: Normalization, slow: list[BatchStatistics], learned: bool
    ) -> Finding:
        names = [found.layer.name for found in slow]
        weight = max(found.unsettled or 0.0 for found in slow)
        return self.finding(
            f"The moving statistics of {listed(names)}, which inference uses, will still consist "
            f"to {weight:.0%} of their start of 0 and 1 when the run ends.",
            title="Moving statistics that do not settle",
            severity=_severity(learned, hopeless=False),
            measurements=[self.measure("unsettled", weight)],
            layers=names,
            remedies=[
                Remedy(
                    text="Let them follow faster: momentum 0.9 settles within 20 steps.",
                    code=_follow_faster(normalization, names),
                )
            ],
        )


def _follow_faster(normalization: Normalization, layers: list[str]) -> str:
    return change_layers(normalization.setup, {name: {"momentum": 0.9} for name in layers})


def _severity(learned: bool, *, hopeless: bool) -> Severity:
    if learned:
        return Severity.INFO
    return Severity.ERROR if hopeless else Severity.WARNING
