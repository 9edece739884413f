from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.early_stopping import EarlyStopping
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.simple_models import SimpleModels
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Finding, Measurement, Onset, Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule, threshold

UNFINISHED = 0.5
LEAST_PATIENCE = 10


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingSettings(Rule):
    """EarlyStopping ends the run at the wrong time, or keeps the wrong weights.

    **What it detects.** A patience so short that noise ended the run; a monitored value that is
    never logged, or that is waited for in the wrong direction; a run that ends on weights much
    worse than its best although it was stopped.

    **Why it matters.** The model is worse than the same program could have made it, and nothing
    says so: a run that was ended by noise looks like one that was finished.

    **How it is measured.** The epochs at the end without improvement, against the share of the
    planned epochs that ran and where the training loss stood; the names of the logs; the last
    monitored value against the best.

    **How to fix it.** A patience of a tenth of the planned epochs, at least 10, with
    `restore_best_weights=True`, on a value that is logged.

    **When it is wrong.** A short patience that happened to stop a finished run is left alone, and
    so is one that ended a run which fits its targets as well as simple models predict them.

    **References.** Prechelt, Early Stopping - But When? (1998).
    """

    title = "EarlyStopping does not do what it should"
    severity = Severity.WARNING
    stage = Stage.BUDGET
    explains = frozenset({"loss_plateau", "underfitting", "undertrained"})

    patience: float = threshold(
        10,
        fires="below",
        unit="epochs",
        source="Prechelt (1998): slower criteria improve generalization by 4 % on average",
    )
    completed: float = threshold(
        0.5,
        fires="below",
        unit="of the planned epochs",
        source="reasoning: a run that went half its way has seen its own noise",
    )
    loss: float = threshold(
        0.05,
        fires="above",
        unit="of a constant prediction's loss given away by not restoring the best weights",
        source="as for overfitting",
    )

    def check(
        self,
        stopping: EarlyStopping,
        curve: LossCurve,
        scale: LossScale | None,
        outcome: TrainingOutcome | None,
        simple: SimpleModels | None,
    ) -> Findings:
        if not stopping.logged:
            yield self._found(
                f"EarlyStopping monitors '{stopping.monitor}', which no epoch logs (there are "
                f"{', '.join(stopping.available)}), so it never acts.",
                [],
                "loss" if "val_loss" not in stopping.available else "val_loss",
                stopping,
            )
            return
        if stopping.reversed and (stopping.stopped or stopping.restores):
            wanted, unwanted = ("fall", "rise") if stopping.mode == "min" else ("rise", "fall")
            yield self._found(
                f"EarlyStopping waits for '{stopping.monitor}' to {wanted} (mode="
                f"'{stopping.mode}') and takes every {unwanted} for a failure, so that it "
                + ("ends good runs" if stopping.stopped else "keeps the worst weights")
                + f"; this one ran {stopping.completed:,} of {stopping.planned or 0:,} epochs.",
                [Measurement(name="epochs run", value=stopping.completed)],
                stopping.monitor,
                stopping,
            )
            return
        if not stopping.stopped or scale is None:
            return
        ran = stopping.completed / max(1, stopping.planned or 1)
        done = outcome is not None and simple is not None and outcome.share >= simple.signal
        unfinished = scale.end > UNFINISHED and not done
        if stopping.patience < self.patience and ran < self.completed and unfinished:
            yield self._found(
                f"After {stopping.final_pause} epoch{'s' * (stopping.final_pause != 1)} without "
                "improvement of "
                f"'{stopping.monitor}' the run ended at epoch {stopping.completed:,} of "
                f"{stopping.planned:,}, with the training loss still {scale.place}.",
                [
                    self.measure("patience", stopping.patience),
                    self.measure("completed", ran),
                    Measurement(name="remaining", value=scale.end),
                ],
                stopping.monitor,
                stopping,
            )
            return
        given_away = abs(stopping.last - stopping.best) / scale.value
        if not stopping.restores and "loss" in stopping.monitor and given_away > self.loss:
            yield self._found(
                f"The run ends on the weights of its last epoch ({stopping.monitor} "
                f"{stopping.last:.4g}) instead of those of epoch {stopping.best_epoch + 1:,} "
                f"({stopping.best:.4g}).",
                [self.measure("loss", given_away)],
                stopping.monitor,
                stopping,
            )

    def _found(
        self, message: str, measurements: list[Measurement], monitor: str, stopping: EarlyStopping
    ) -> Finding:
        patience = max(LEAST_PATIENCE, stopping.patience, (stopping.planned or 0) // 10)
        return self.finding(
            message,
            measurements=measurements,
            onset=Onset(epoch=stopping.best_epoch),
            remedies=[
                Remedy(
                    text=("Leave out its mode, which Keras finds by itself. " * stopping.reversed)
                    + f"Give it a patience of {patience} epochs and let it restore the best "
                    "weights, in place of the present callback.",
                    code="callbacks = [\n"
                    "    keras.callbacks.EarlyStopping(\n"
                    f'        monitor="{monitor}", patience={patience}, '
                    "restore_best_weights=True\n    )\n]",
                )
            ],
        )
