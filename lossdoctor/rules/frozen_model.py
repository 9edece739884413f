from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.initialization import Initialization
from lossdoctor.evidence.left_out import LeftOut
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.architecture import listed, unfreeze
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class FrozenModel(Rule):
    """Weights that should learn are not trainable.

    **What it detects.** A model without trainable weights, or one in which layers are frozen at 0,
    or at their random start; layers that a `train_step` leaves out when it trains on the compiled
    loss.

    **Why it matters.** Frozen weights never move. Freezing makes sense for layers that have
    learned something before; a random layer that is frozen hands random features on, and the
    layers behind it can only make the best of them.

    **How it is measured.** Trainable parameters of the compiled model; a frozen kernel counts as
    random when its spread is that of a fresh draw of its own initializer.

    **How to fix it.** Set `trainable = True` and compile again.

    **When it is wrong.** Random features that are meant (extreme learning machines, reservoirs)
    look the same. A pretrained body does not: its weights are no draw of any initializer. What
    frozen parts are for where the model computes its own loss (a target network, a teacher) nobody
    else knows, so that is INFO.

    **References.** Keras documentation, Transfer learning and fine-tuning.
    """

    title = "Frozen weights"
    severity = Severity.ERROR
    stage = Stage.ARCHITECTURE
    explains = STUCK

    learned: float = threshold(
        0.95,
        fires="below",
        unit="share of what can be learned",
        source="where random features leave a twentieth of the errors they are enough",
    )

    def check(
        self,
        setup: Setup,
        initial: Initialization | None,
        outcome: TrainingOutcome | None,
        left: LeftOut | None,
    ) -> Findings:
        model = setup.model
        if not model.parameters:
            raise NotApplicable("the model has no weights")
        if not model.trainable_parameters:
            yield self.finding(
                f"None of the {model.parameters:,} parameters is trainable, so nothing can change.",
                measurements=[
                    Measurement(
                        name="trainable parameters",
                        value=0,
                        unit="parameters",
                        threshold=1,
                        fires="below",
                    )
                ],
                layers=[layer.name for layer in model.layers if layer.kernel is not None],
                remedies=[_unfreeze(setup)],
            )
            return
        learned = outcome is not None and outcome.share >= self.learned
        empty = [
            layer.name
            for layer in model.layers
            if layer.kernel and not layer.kernel.trainable and layer.kernel.abs_max == 0
        ]
        if empty and not learned:
            yield self.finding(
                f"The weights of {listed(empty)} are all 0, and frozen: nothing gets through.",
                measurements=[Measurement(name="largest weight", value=0.0)],
                layers=empty,
                remedies=[
                    Remedy(
                        text="Check that the weights meant for it were loaded (that the words of "
                        "the vocabulary were found in the file of vectors, say), or train it.",
                        code=unfreeze(setup),
                    )
                ],
            )
        if left is not None:
            pretrained = initial is not None and initial.pretrained
            yield self.finding(
                f"The run's train_step gives the optimizer no gradients of {listed(left.layers)} "
                f"({left.share:.0%} of the trainable parameters), so they stay as they were.",
                title="Weights that the train_step leaves out",
                severity=Severity.INFO if learned or pretrained else Severity.WARNING,
                measurements=[Measurement(name="share left out", value=left.share)],
                layers=left.layers,
                remedies=[Remedy(text=_TRAIN_ALL, code=_TRAIN_ALL_CODE)],
            )
        frozen = initial.frozen_at_random if initial else ()
        random = [kernel.layer.name for kernel in frozen]
        if random:
            yield self.finding(
                f"{listed(random)} {'are' if len(random) > 1 else 'is'} frozen at "
                f"{'their' if len(random) > 1 else 'its'} random start; only "
                f"{model.trainable_parameters:,} of {model.parameters:,} parameters can learn"
                + (f", which was enough: {outcome.sentence}." if learned and outcome else "."),
                severity=Severity.INFO if learned or model.own_loss else Severity.WARNING,
                measurements=[
                    Measurement(
                        name="frozen random layers",
                        value=len(random),
                        unit="layers",
                        threshold=0,
                        fires="above",
                    )
                ],
                layers=random,
                remedies=[_unfreeze(setup)],
            )


def _unfreeze(setup: Setup) -> Remedy:
    return Remedy(
        text="Make the layers trainable and compile again: Keras reads `trainable` when it "
        "compiles, so setting it alone changes nothing.",
        code=unfreeze(setup),
    )


_TRAIN_ALL = (
    "Take the gradients of all trainable weights and give them to the optimizer; what is to stay "
    "as it is, freeze by `trainable = False`."
)
_TRAIN_ALL_CODE = """\
# in train_step
gradients = tape.gradient(loss, self.trainable_variables)
self.optimizer.apply(gradients, self.trainable_variables)
"""
