from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.probed import ValidationOverlap as Overlap
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule, threshold

_FEWEST_MATCHES = 5
_MOST = 0.9


@dataclass(frozen=True, kw_only=True)
class ValidationOverlap(Rule):
    """Validation rows stand in the training data as well.

    **What it detects.** Validation inputs that are equal, bit for bit, to training inputs.

    **Why it matters.** What has been seen in training says nothing about new data: overfitting
    stays invisible, and early stopping stops for the wrong reason. Usual causes are a split after
    oversampling or augmentation, or validation data taken from the training set.

    **How it is measured.** Exact matches between a sample of both sides, scaled up by the share of
    the training rows that was sampled.

    **How to fix it.** Split first, then oversample or augment the training side only.

    **When it is wrong.** Inputs with few distinct values repeat by nature; where such training rows
    repeat each other as often, the rule does not apply. Rows of measured numbers do not: they
    were copied.

    **References.** Kapoor and Narayanan, Leakage and the reproducibility crisis (2023).
    """

    title = "Validation rows seen in training"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = frozenset({"validation_below_training"})

    share: float = threshold(
        0.05,
        fires="above",
        unit="of the validation rows",
        source="deepchecks' default; the score of the rest then moves by a twentieth of the gap",
    )

    def check(self, overlap: Overlap) -> Findings:
        # A random split of such data gives twice that share; a leak must stand out from it.
        if overlap.repeats >= overlap.share / 4 > 0:
            raise NotApplicable(
                f"{overlap.repeats:.0%} of the training rows repeat each other, so equal rows are "
                "no sign of a leak"
            )
        if overlap.share > self.share and overlap.matches >= _FEWEST_MATCHES:
            yield self.finding(
                f"{overlap.share:.0%} of the validation rows also stand in the training data.",
                measurements=[self.measure("share", overlap.share)],
                remedies=[_leave_out(overlap)],
            )


def _leave_out(overlap: Overlap) -> Remedy:
    if overlap.setup.fit.validation_split:
        return Remedy(
            text="Leave out the copies: `validation_split` can only part rows that differ.",
            code="_, first = np.unique(np.asarray(X), axis=0, return_index=True)\n"
            "X, y = np.asarray(X)[np.sort(first)], np.asarray(y)[np.sort(first)]",
        )
    if overlap.share > _MOST:
        return Remedy(
            text="Split all rows anew, each of them into one part only: next to nothing is left of "
            "this validation set without what training has seen.",
            code="from sklearn.model_selection import train_test_split\n"
            "X, y = np.concatenate([X, X_val]), np.concatenate([y, y_val])\n"
            "_, first = np.unique(X, axis=0, return_index=True)\n"
            "X, X_val, y, y_val = train_test_split(X[first], y[first], test_size=0.2, "
            "random_state=0)",
        )
    return Remedy(
        text="Leave out of validation what training has seen; better, split before anything is "
        "copied or augmented.",
        code="seen = {row.tobytes() for row in np.ascontiguousarray(X)}\n"
        "new = np.array([row.tobytes() not in seen for row in np.ascontiguousarray(X_val)])\n"
        "X_val, y_val = np.asarray(X_val)[new], np.asarray(y_val)[new]",
    )
