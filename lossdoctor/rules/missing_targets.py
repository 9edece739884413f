from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.target_count import TargetCount
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class MissingTargets(Rule):
    """Outputs with a loss have no targets to be compared with.

    **What it detects.** `fit(x)` without y, or a dataset that yields inputs only, under a compiled
    loss; another number of target arrays than outputs with a loss.

    **Why it matters.** A loss compares predictions with targets. Keras raises at fit with
    "None values not supported" or "different structures", which name neither.

    **How it is measured.** The number of target arrays that came against the number of outputs
    that are judged by a compiled loss.

    **How to fix it.** Pass y: for an autoencoder the inputs themselves. With several outputs, one
    array for each of them in the same order, or a dict by the outputs' names.

    **When it is wrong.** Models with their own `train_step` or `compute_loss`, or whose whole loss
    comes from `add_loss`, need no targets and are not judged.

    **References.** Keras: `Model.fit`, arguments x and y.
    """

    title = "Outputs without targets"
    severity = Severity.ERROR
    stage = Stage.CONTRACT

    def check(self, count: TargetCount, setup: Setup) -> Findings:
        if count.given == count.wanted:
            return
        if not count.given:
            text = f"fit got no y, while {count.loss_names} compares predictions with targets"
        else:
            text = (
                f"{count.wanted} outputs ({', '.join(count.outputs)}) are judged by a loss, and y "
                f"holds {count.given} array{'s' if count.given > 1 else ''}"
            )
        yield self.finding(
            f"{text}: Keras raises at fit.",
            measurements=[
                Measurement(name="arrays in y", value=count.given),
                Measurement(name="outputs with a loss", value=count.wanted),
            ],
            remedies=[_remedy(count, setup)],
        )


def _remedy(count: TargetCount, setup: Setup) -> Remedy:
    if count.wanted > 1:
        names = ", ".join(f'"{name}": y_{i}' for i, name in enumerate(count.outputs, 1))
        return Remedy(
            text=f"Pass one array of targets for each output: model.fit(X, {{{names}}}). Where an "
            "output needs none, give it the loss None."
        )
    if count.given > 1:
        return Remedy(
            text="Put the targets into one array, one row for each example: a list or tuple of "
            "arrays counts as the targets of several outputs."
        )
    if count.reconstructs:
        return Remedy(
            text="The output has the shape of the input, as in an autoencoder: pass the inputs as "
            "targets as well.",
            code="\n".join(f"{x.replace('X', 'y')} = {x}" for x in setup.sides("X")),
        )
    return Remedy(text="Pass the targets: model.fit(X, y), or a dataset that yields pairs (x, y).")
