from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.probed import LabelAgreement
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class LabelNoise(Rule):
    """Many training labels contradict the examples around them.

    **What it detects.** Labels that deviate from their neighbors more than overlapping classes do,
    and equal inputs with different labels.

    **Why it matters.** A network fits wrong labels last and by heart: the training loss goes on
    falling while the validation loss turns. Below that the loss has a floor no model gets under.

    **How it is measured.** With nearest neighbors on at most 512 rows (of images, sequences and ids
    a linear model on features pooled over positions): how much more often they mistake held-out
    training labels than validation labels; of tables also how often labels contradict
    neighbors far from any class border, where overlap is over, at most as often as what simple
    models predict out of fold leaves room for. The share that overlap explains is taken from the
    strength of the signal; and where there are as many of them far from a border as elsewhere, no
    overlap explains them.

    **How to fix it.** Look through the contradicting rows first: they are few and telling.

    **When it is wrong.** Classes that overlap everywhere look alike, so weak signals are given the
    benefit of the doubt; a validation set of easier cases looks cleaner than training.

    **References.** Northcutt, Jiang and Chuang, Confident learning (2021); Zhang et al.,
    Understanding deep learning requires rethinking generalization (2017).
    """

    title = "Contradictory labels"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = frozenset(
        {"overconfidence", "overfitting", "underfitting", "validation_below_training"}
    )

    beyond_validation: float = threshold(
        0.1,
        fires="above",
        unit="more errors on training than on validation labels",
        source="measured on five data sets with 20 % of the labels moved: 0.11 to 0.2; unharmed: "
        "0.07 at most; on 57 of images, sensors and word ids unharmed 0.02 at most, with 30 % "
        "moved 0.14 to 0.35 on 54 of them",
    )
    beyond_overlap: float = threshold(
        0.05,
        fires="above",
        unit="of the labels, beyond overlap and chance",
        source="measured on five data sets: unharmed -0.05 at most, 10 % wrong digits 0.05",
    )
    evenness: float = threshold(
        0.5,
        fires="above",
        unit="wrong labels far from any border ÷ wrong labels everywhere",
        source="measured on 26 data sets: overlapping classes at most 0.32, clear ones with 20 % "
        "of the labels moved 0.5 to 0.8",
    )
    conflicting: float = threshold(
        0.05,
        fires="above",
        unit="of the rows",
        source="reasoning: 1 row in 20 then has a loss no model can remove",
    )

    def check(self, agreement: LabelAgreement) -> Findings:
        found: list[tuple[str, Measurement]] = []
        judges = "neighbors" if agreement.kind == "table" else "simple models"
        if agreement.beyond_validation > self.beyond_validation:
            text = (
                f"{judges} mistake {agreement.beyond_validation:.0%} more of the training labels "
                "than of the validation labels"
            )
            found.append((text, self.measure("beyond_validation", agreement.beyond_validation)))
        noise = [
            self.measure(name, value)
            for name, value in (
                ("beyond_overlap", agreement.beyond_overlap),
                ("evenness", agreement.evenness),
            )
            if value > getattr(self, name)
        ]
        if noise:
            text = f"{agreement.interior:.0%} of the labels far from any class border contradict it"
            found.append((text, noise[0]))
        if agreement.conflicting > self.conflicting and agreement.continuous:
            text = f"{agreement.conflicting:.0%} of the rows share their input with another label"
            found.append((text, self.measure("conflicting", agreement.conflicting)))
        if found:
            sentence = " and ".join(text for text, _ in found)
            yield self.finding(
                f"{sentence[0].upper()}{sentence[1:]}.",
                measurements=[measurement for _, measurement in found],
                remedies=[_look(agreement.kind), _soften()],
            )


_VOTERS = {
    "table": ("X", "neighbors", "KNeighborsClassifier(max(5, len(X) // 10))"),
    "grid": ("np.reshape(X, (len(X), -1))", "neighbors", "KNeighborsClassifier(15)"),
    "ids": (
        "[np.bincount(row, minlength=int(np.max(X)) + 1) for row in np.asarray(X)]",
        "linear_model",
        "LogisticRegression(C=0.01)",
    ),
}
"""What each kind of input is laid out as, and which simple model knows the labels from it."""


def _look(kind: str) -> Remedy:
    table, module, model = _VOTERS[kind]
    return Remedy(
        text="Leave out, or correct, the rows whose label simple models of the other rows "
        "contradict; look at them first, as they show where labeling went wrong. A larger "
        "model would only learn them by heart.",
        code="from sklearn.model_selection import cross_val_predict\n"
        f"from sklearn.{module} import {model.partition('(')[0]}\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler\n"
        "labels = np.argmax(y, axis=1) if np.ndim(y) > 1 and np.shape(y)[1] > 1 else np.ravel(y)\n"
        "classes, ids = np.unique(labels, return_inverse=True)\n"
        f"voters = make_pipeline(StandardScaler(), {model})\n"
        f"table = {table}\n"
        'votes = cross_val_predict(voters, table, ids, cv=5, method="predict_proba")\n'
        "keep = votes.argmax(axis=1) == ids  # np.flatnonzero(~keep): the rows to look at\n"
        "X, y = np.asarray(X)[keep], np.asarray(y)[keep]",
    )


def _soften() -> Remedy:
    return Remedy(
        text="Where they cannot be checked, keep the network from learning them by heart: early "
        "stopping with restore_best_weights=True, or label_smoothing=0.1 in the loss."
    )
