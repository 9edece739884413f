from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.data_quality import DataQuality, Tensor
from lossdoctor.finding import Finding, Measurement, Onset, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.data import drop_or_impute, make_numeric
from lossdoctor.rules._rule import Findings, Rule

_COLUMNS_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class NonFiniteData(Rule):
    """The data hold NaN, infinities, or something that is no number.

    **What it detects.** NaN or infinite entries in inputs, targets or sample weights, and strings
    or objects where numbers are needed.

    **Why it matters.** One NaN makes the loss of its batch NaN, the next update makes every weight
    NaN, and from there on all is lost, whatever the learning rate. In validation data it makes
    `val_loss` NaN in every epoch.

    **How it is measured.** Every entry is tested; the count, columns and rows are those of the
    data as given, or of the batches as they arrived in the run; in long epochs only the steps'
    sums of inputs, targets and weights see every batch.

    **How to fix it.** Leave out the examples when they are few or the target is missing; fill the
    columns with their median otherwise; encode words as numbers.

    **When it is wrong.** When a loss masks missing targets, or a layer replaces missing inputs:
    if all losses and gradients stayed finite all the same, the finding is INFO.

    **References.** Little and Rubin, Statistical Analysis with Missing Data (2019), chapters 3-4.
    """

    title = "Data that are not finite numbers"
    severity = Severity.ERROR
    stage = Stage.DATA
    explains = UNSTABLE | STUCK | {"class_imbalance", "missing_class", "validation_shift"}

    def check(self, quality: DataQuality) -> Findings:
        for tensor in quality.caught:
            yield self._caught(tensor, quality)
        bad = [(t.kind, t.validation) for t in quality.tensors if t.numeric and t.bad_entries]
        for tensor in quality.tensors:
            if not tensor.numeric:
                if not (quality.reads_strings and tensor.kind == "input"):
                    yield self.finding(
                        _not_numeric(tensor), remedies=[make_numeric(tensor, quality.setup)]
                    )
            elif tensor.bad_entries and not (tensor.validation and (tensor.kind, False) in bad):
                both_sides = (tensor.kind, True) in bad
                severity, sentence = _severity(tensor, quality)
                also = ", as have validation rows" if both_sides and not tensor.validation else ""
                yield self.finding(
                    _not_finite(tensor) + also + "." + sentence,
                    severity=severity,
                    measurements=[
                        Measurement(
                            name=f"non-finite entries of {tensor.name}",
                            value=tensor.bad_entries,
                            unit="entries",
                            threshold=0,
                            fires="above",
                        )
                    ],
                    remedies=[drop_or_impute(tensor, both_sides, quality.setup)],
                )

    def _caught(self, tensor: Tensor, quality: DataQuality) -> Finding:
        assert quality.caught_at is not None
        epoch, step = quality.caught_at
        return self.finding(
            f"A batch of epoch {epoch + 1} has NaN or infinite entries in {tensor.name} (step "
            f"{step:,}); those that were looked at in whole, {tensor.summary.rows:,} rows, have "
            "none.",
            onset=Onset(epoch=epoch, step=step),
            remedies=[drop_or_impute(tensor, False, quality.setup)],
        )


def _severity(tensor: Tensor, quality: DataQuality) -> tuple[Severity, str]:
    finite = quality.finite_validation if tensor.validation else quality.finite_training
    if finite:
        return Severity.INFO, " The run stayed finite all the same: something deals with them."
    if finite is None and tensor.kind == "target" and any(x.custom for x in quality.setup.losses):
        return Severity.WARNING, " Unless the loss of your own masks them, every step is lost."
    return Severity.ERROR, ""


def _not_numeric(tensor: Tensor) -> str:
    shown = ", ".join(map(repr, tensor.summary.strings[:3]))
    where = _in_columns(tensor)
    return (
        f"{_whose(tensor)} holds {tensor.summary.dtype} values{where} ({shown}), not numbers: "
        "Keras raises at fit."
    )


def _not_finite(tensor: Tensor) -> str:
    summary = tensor.summary
    counts = [(summary.nan_count, "NaN"), (summary.inf_count, "infinite")]
    shown = " and ".join(f"{count:,} {name}" for count, name in counts if count)
    text = f"{_whose(tensor)} has {shown} {'entry' if tensor.bad_entries == 1 else 'entries'}"
    text += f"{_in_columns(tensor)}, {summary.nonfinite_row_count:,} of {summary.rows:,} rows"
    if summary.nonfinite_rows:
        rows = ", ".join(map(str, summary.nonfinite_rows[:_COLUMNS_NAMED]))
        dots = ", ..." if summary.nonfinite_row_count > _COLUMNS_NAMED else ""
        text += f" (row {rows}{dots})"
    return text


def _in_columns(tensor: Tensor) -> str:
    columns = tensor.bad_columns
    if not columns:
        return ""
    more = f" and {len(columns) - _COLUMNS_NAMED} more" if len(columns) > _COLUMNS_NAMED else ""
    plural = "s" if len(columns) > 1 else ""
    return f" in column{plural} {', '.join(columns[:_COLUMNS_NAMED])}{more}"


def _whose(tensor: Tensor) -> str:
    return f"Validation {tensor.name}" if tensor.validation else tensor.name
