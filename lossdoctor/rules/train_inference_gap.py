from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.mode_gap import MODES, ModeGap
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.code import rebuild_code
from lossdoctor.rules._rule import Findings, Rule, threshold

MOMENTUM = 0.9
DECIDES_RIGHT = 0.9


@dataclass(frozen=True, kw_only=True)
class TrainInferenceGap(Rule):
    """The trained model does far worse on its own training rows once it is in inference mode.

    **What it detects.** A loss of training rows in inference mode far above the loss of the same
    rows while training.

    **Why it matters.** `fit` reports one model, `evaluate` and `predict` use another: batch
    normalization takes the statistics of the batch in the one and its running averages in the
    other. A bad validation score then looks like overfitting and is none.

    **How it is measured.** The compiled loss of sampled training rows in inference mode after
    training, without penalties, against the training loss of the last epochs; both between the
    floor and a constant prediction's loss.

    **How to fix it.** A lower momentum, so that the running statistics keep up; more steps;
    batches large enough that their statistics mean something.

    **When it is wrong.** Where the loss jumps so much from epoch to epoch that the last weights
    may just be bad ones, it stays silent. Where the decisions on the training rows are right in
    inference mode too, only their probabilities lag behind (INFO).

    **References.** Ioffe, Batch Renormalization (2017). Keras documentation of BatchNormalization.
    """

    title = "Inference mode is far worse than training mode"
    severity = Severity.ERROR
    stage = Stage.ARCHITECTURE
    explains = frozenset({"overfitting", "overconfidence", "loss_metric_divergence"})

    gap: float = threshold(
        0.3,
        fires="above",
        unit="of a constant prediction's loss",
        source="measured: a healthy normalized regression lies at -0.02, lagging statistics at 84",
    )

    def check(self, modes: ModeGap, outcome: TrainingOutcome | None) -> Findings:
        if modes.gap <= self.gap or modes.gap <= modes.swing:
            return
        right = outcome is not None and outcome.share >= DECIDES_RIGHT
        layer = (modes.normalizations or modes.layers)[0]
        does = MODES.get(layer.class_name, "is of your own making and may heed `training`")
        yield self.finding(
            f"The training rows cost {modes.inference:.3g} of a constant prediction's loss in "
            f"inference mode, but {modes.training:.3g} while training: '{layer.name}' {does}.",
            severity=Severity.INFO if right else None,
            measurements=[
                self.measure("gap", modes.gap),
                Measurement(name="inference mode", value=modes.inference),
                Measurement(name="training mode", value=modes.training),
            ],
            layers=[x.name for x in modes.normalizations or modes.layers],
            remedies=[_remedy(modes)],
        )


def _remedy(modes: ModeGap) -> Remedy:
    if not modes.normalizations:
        return Remedy(
            text="Check what these layers do with their `training` argument: in inference mode "
            "they must come close, on average, to what they do in training."
        )
    changes = {x.name: {"momentum": MOMENTUM} for x in modes.normalizations}
    return Remedy(
        text=f"Set the momentum of the batch normalization to {MOMENTUM}, so that its running "
        "statistics follow within some tens of steps; they had not caught up with the batches.",
        code=rebuild_code(modes.setup, changes),
    )
