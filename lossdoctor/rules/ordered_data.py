from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lossdoctor.evidence.row_order import RowOrder
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.evidence.transfer import Transfer
from lossdoctor.evidence.validation_outcome import ValidationOutcome
from lossdoctor.finding import Finding, Measurement, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.data import shuffle_rows
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class OrderedData(Rule):
    """The rows are sorted by class where their order matters.

    **What it detects.** Sorted labels under `validation_split`, which takes the last rows without
    shuffling; sorted labels under `shuffle=False`; batches of one class only, or of few.

    **Why it matters.** A validation set cut from the tail then consists of classes training never
    saw: its accuracy is 0 and its loss rises, whatever the model. Batches of a single class pull
    the whole model to that class, then to the next, and what was learned is forgotten again.

    **How it is measured.** Classes in the first and last fifth of y; share of recorded batches with
    one class; correlation of two examples of a batch in their class; classes that no validation
    row has although chance alone (below one in a million) cannot leave them out.

    **How to fix it.** Shuffle the rows once, inputs and labels together, before splitting.

    **When it is wrong.** When a split by class is meant, as in zero-shot learning. Of batches that
    keep recordings together, a run that learned all the same is told in passing (INFO).

    **References.** Keras documentation, `Model.fit`: `validation_split`, `shuffle`.
    """

    title = "Rows sorted by class"
    severity = Severity.ERROR
    stage = Stage.DATA
    explains = STUCK | {
        "class_imbalance",
        "diverging_loss",
        "missing_class",
        "oscillating_loss",
        "overconfidence",
        "overfitting",
        "schedule_shock",
        "validation_shift",
    }

    one_class_batches: float = threshold(
        0.5,
        fires="above",
        unit="of the batches, beyond chance",
        source="shuffled rows give 0; sorted ones nearly 1, less the batches across a border",
    )

    correlation: float = threshold(
        0.3,
        fires="above",
        unit="correlation of two examples of a batch in their class",
        source="Kish (1965): a batch of 32 then tells as much as 3 examples drawn at random; 0 "
        "for shuffled rows, 0.67 to 0.81 for sorted ones behind a buffer of 30 to 100",
    )
    renamed: float = threshold(
        0.75,
        fires="below",
        unit="of what simple models know of training rows",
        source="as in validation_shift: beyond it the classes of validation have other names",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="a run that removed three quarters of the errors was not led astray",
    )

    def check(
        self,
        order: RowOrder,
        outcome: TrainingOutcome | None,
        validation: ValidationOutcome | None,
        transfer: Transfer | None,
    ) -> Findings:
        batches, alike = order.one_class_batches, order.correlation
        if order.is_sorted and order.taken_from_tail:
            yield self._found(
                order,
                f"y begins with {_classes(order.head)} and ends with {_classes(order.tail)}, and "
                "validation_split takes the end without shuffling.",
            )
        elif order.is_sorted and order.in_order:
            yield self._found(
                order,
                f"y begins with {_classes(order.head)} and ends with {_classes(order.tail)}, and "
                "shuffle=False feeds it in that order.",
                feeding=True,
            )
        elif batches is not None and batches > self.one_class_batches:
            yield self._found(
                order,
                f"{batches:.0%} more of the batches hold a single class than chance would give.",
                measurements=[self.measure("one_class_batches", batches)],
                feeding=True,
            )
        elif alike is not None and alike > self.correlation:
            learned = outcome is not None and outcome.share >= self.learned
            yield self._found(
                order,
                "The batches hold other classes than their neighbors: what they come from is "
                "sorted, and hardly mixed (a buffer of .shuffle smaller than the data, or files "
                "read one after the other).",
                severity=Severity.INFO if learned else None,
                measurements=[self.measure("correlation", alike)],
                feeding=True,
            )
        elif order.missing_in_validation and (transfer is None or transfer.lost < self.renamed):
            known = validation is not None and validation.share >= self.learned
            unsorted = bool(order.head) and not order.is_sorted and not order.taken_from_tail
            yield self._found(
                order,
                f"No validation row has {_classes(order.missing_in_validation)}, which training "
                "has: the rows were split without shuffling.",
                severity=Severity.INFO if known or unsorted else None,
            )

    def _found(
        self,
        order: RowOrder,
        message: str,
        *,
        severity: Severity | None = None,
        measurements: Iterable[Measurement] = (),
        feeding: bool = False,
    ) -> Finding:
        return self.finding(
            message,
            severity=severity,
            measurements=measurements,
            remedies=[shuffle_rows(order.setup, order.rows, feeding)],
        )


def _classes(classes: tuple[float, ...], most: int = 4) -> str:
    shown = ", ".join(f"{c:g}" for c in classes[:most])
    dots = ", ..." if len(classes) > most else ""
    return f"class{'es' if len(classes) > 1 else ''} {shown}{dots}"
