from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.class_coverage import ClassCoverage, Coverage
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.data import split_again
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class MissingClass(Rule):
    """A class the model is asked about never occurs in the training labels.

    **What it detects.** Training labels that are all the same (ERROR); classes that occur in the
    validation labels only (WARNING); classes of the head, or columns of one-hot labels, that no
    training label belongs to (INFO).

    **Why it matters.** A class never trained on is never predicted: its validation examples are all
    wrong, and their loss rises all through training as the model grows sure of the others. With
    one class only, the loss falls to 0 and nothing was learned. The common causes are sorted data
    with `validation_split`, which takes the tail without shuffling, labels counted from 1, and a
    comparison with a text or number that never occurs.

    **How it is measured.** Distinct ids, or columns with a one, of the training labels against
    those of the validation labels and the units of the head.

    **How to fix it.** Shuffle before splitting, and split by class.

    **When it is wrong.** Heads with more classes than the data at hand show (a vocabulary, a
    pretrained head) are fine: that is INFO. Labels of more than 256 values are not compared.

    **References.** Keras API: `validation_split` takes the last samples before shuffling.
    """

    title = "A class without training examples"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = STUCK | {"overconfidence", "overfitting", "uninformative_inputs"}

    def check(self, coverage: ClassCoverage) -> Findings:
        for output in coverage.outputs:
            if output.nothing_to_tell_apart:
                yield self._one_class(output)
            elif output.only_validated:
                yield self._only_validated(coverage.setup, output)
            elif output.never:
                yield self._never(output)

    def _only_validated(self, setup: Setup, output: Coverage) -> Finding:
        missing = output.only_validated
        return self.finding(
            f"Validation has {_named(missing)}, which the {output.judged.labels.rows:,} training "
            f"labels ({output.judged.labels.described}) do not contain.",
            measurements=[
                Measurement(
                    name="classes only in validation",
                    value=len(missing),
                    threshold=0,
                    fires="above",
                )
            ],
            layers=output.judged.head.layer_names,
            remedies=[split_again(setup, ", and let every class fall into both parts")],
        )

    def _one_class(self, output: Coverage) -> Finding:
        labels = output.judged.labels
        return self.finding(
            f"All {labels.rows:,} training labels of {output.judged.head.label} are "
            f"{labels.low:g}, so there is nothing to tell apart.",
            title="Training labels of one class only",
            severity=Severity.ERROR,
            measurements=[
                Measurement(name="classes in training", value=1, threshold=2, fires="below")
            ],
            layers=output.judged.head.layer_names,
            remedies=[
                Remedy(
                    text="Print the labels before and after each step that made them: a comparison "
                    "with a misspelled text, a cast that cuts decimals off, or a selection of rows "
                    "left one class. No setting of the model can bring the others back.",
                    code="print(np.unique(y, return_counts=True))",
                )
            ],
        )

    def _never(self, output: Coverage) -> Finding:
        return self.finding(
            f"No training label belongs to {_named(output.never)} of {output.judged.head.label}.",
            title="A unit without training examples",
            severity=Severity.INFO,
            layers=output.judged.head.layer_names,
            remedies=[
                Remedy(text="Nothing to change if the data at hand are a part of the whole.")
            ],
        )


def _named(classes: tuple[int, ...]) -> str:
    shown = ", ".join(str(c) for c in classes[:5])
    more = f" and {len(classes) - 5} more" if len(classes) > 5 else ""
    return f"class{'es' if len(classes) > 1 else ''} {shown}{more}"
