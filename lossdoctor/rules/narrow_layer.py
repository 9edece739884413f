from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.architecture import Architecture
from lossdoctor.evidence.probed import LinearReach
from lossdoctor.evidence.simple_models import SimpleModels
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Severity, Stage
from lossdoctor.rules._remedies.capacity import wider
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class NarrowLayer(Rule):
    """A layer that passes on a single number, through which what can be learned does not pass.

    **What it detects.** A hidden layer of one unit, or a pooling that leaves one number of a whole
    image or sequence, that everything behind it reads, in a model that has learned far less of its
    training data than simple models find there.

    **Why it matters.** All that follows sees one number for each example: classes can only be told
    apart along one line, a product or an exclusive or not at all. A single ReLU unit also dies
    easily, and the whole model with it.

    **How it is measured.** By the layers' shapes; the share of what can be learned that the model
    has learned on its training rows against the out-of-fold R² of ridge regression, nearest
    neighbors and a small forest, or 1 where discrete patterns never come with two answers.

    **How to fix it.** More units: at least as many as there are classes, 32 for a start. Smaller
    pools, or more channels before them.

    **When it is wrong.** A linear task passes through one unit: then the model has learned it, and
    the rule is silent. Where neither simple models nor patterns tell what there is to learn, the
    rule does not judge.

    **References.** Minsky and Papert, Perceptrons (1969); Goodfellow et al., Deep Learning (2016),
    section 6.4.1.
    """

    title = "A layer that passes on a single number"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = frozenset(
        {
            "constant_predictions",
            "dead_units",
            "excessive_dropout",
            "loss_metric_divergence",
            "loss_plateau",
            "underfitting",
            "undertrained",
        }
    )

    shortfall: float = threshold(
        0.25,
        fires="above",
        unit="of what can be learned",
        source="the same margin as for underfitting",
    )

    def check(
        self,
        architecture: Architecture,
        outcome: TrainingOutcome,
        simple: SimpleModels | None,
        reach: LinearReach | None,
    ) -> Findings:
        narrow = architecture.single_units
        if not narrow:
            return
        known = simple.signal if simple else reach.present if reach else None
        if known is None:
            raise NotApplicable("how much there is to learn is not known")
        shortfall = known - max(outcome.share, 0.0)
        if shortfall <= self.shortfall:
            return
        names = [layer.name for layer in narrow]
        yield self.finding(
            f"{' and '.join(map(repr, names))} {'leaves' if len(names) == 1 else 'leave'} one "
            "number of each example, which is all that what follows sees: the model has learned "
            f"{max(outcome.share, 0):.0%} of what can be learned, of which {known:.0%} is in reach "
            "of simple models.",
            measurements=[self.measure("shortfall", shortfall)],
            layers=names,
            remedies=wider(architecture.setup, narrow[0]),
        )
