from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.sample_size import SampleSize
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule, threshold

_FEW_ROWS = 200
_EVENTS = 10.0  # examples for each feature, Peduzzi's rule of thumb


@dataclass(frozen=True, kw_only=True)
class TooFewExamples(Rule):
    """Too few examples for the number of classes or features, or for anything.

    **What it detects.** Fewer than five examples per class, fewer examples than features, or fewer
    than thirty in all, under a model with many more parameters than examples; a pipeline that
    brings the same batch over and over.

    **Why it matters.** With fewer examples than features a linear model already fits any labels
    perfectly, right or wrong; with a handful per class the class' variety is not in the data. The
    training loss goes to zero and says nothing, the validation loss cannot follow.

    **How it is measured.** Rows ÷ classes, rows ÷ columns of tabular inputs, rows where these
    are fewer than ten for each column, parameters ÷ rows.

    **How to fix it.** More data, augmentation, a pretrained body, fewer features, a simpler model
    judged by cross-validation.

    **When it is wrong.** XOR and its like list every pattern there is: inputs of two or three
    discrete values are left alone. Without validation nobody asks for generalization: INFO.

    **References.** Peduzzi et al., events per variable (1996); Cover, Geometrical and statistical
    properties of systems of linear inequalities (1965).
    """

    title = "Too few examples"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = frozenset(
        {
            "missing_class",
            "overconfidence",
            "overfitting",
            "underfitting",
            "undertrained",
            "validation_shift",
        }
    )

    per_class: float = threshold(
        5.0,
        fires="below",
        unit="examples per class",
        source="below five, one example in the validation fold is a fifth of all there is",
    )
    per_feature: float = threshold(
        1.0,
        fires="below",
        unit="examples per feature",
        source="Cover (1965): up to one example per dimension any labeling is linearly separable",
    )
    examples: float = threshold(
        30.0,
        fires="below",
        unit="examples",
        source="a share estimated from 30 has a standard error of a tenth: no split can be judged",
    )
    parameters: float = threshold(
        10.0,
        fires="above",
        unit="parameters per example",
        source="a model with fewer cannot learn the examples by heart at once",
    )

    def check(self, size: SampleSize) -> Findings:
        if size.complete:
            raise NotApplicable(
                "the inputs are a few discrete patterns, which may be all there are"
            )
        if size.repeated is not None:
            yield self._repeated(size, size.repeated)
            return
        per_parameter = size.parameters / size.rows
        if per_parameter <= self.parameters:
            return
        measured = [self.measure("parameters", per_parameter)]
        if size.per_class is not None and size.per_class < self.per_class:
            text = f"{size.per_class:.3g} for each class"
            measured.append(self.measure("per_class", size.per_class))
        elif (
            size.rows < _FEW_ROWS
            and size.per_feature is not None
            and size.per_feature < self.per_feature
        ):
            text = f"{size.per_feature:.2g} for each feature"
            measured.append(self.measure("per_feature", size.per_feature))
        elif size.rows < self.examples and (size.per_feature or 0.0) < _EVENTS:
            text = "too few to tell a rule from an accident"
            measured.append(self.measure("examples", size.rows))
        else:
            return
        yield self.finding(
            f"There are {size.rows:,} examples, {text}, for {size.parameters:,} parameters.",
            severity=None if size.validated else Severity.INFO,
            measurements=measured,
            remedies=[
                Remedy(
                    text="Get more examples, or make more of these: augmentation, a pretrained "
                    "body, fewer features. Until then prefer a linear model and cross-validation; "
                    "dropout and early stopping only soften what the data cannot tell."
                )
            ],
        )

    def _repeated(self, size: SampleSize, different: int) -> Finding:
        return self.finding(
            f"Of {size.rows:,} examples read, {different:,} are different: every batch brings the "
            "same ones.",
            title="The same batch over and over",
            measurements=[Measurement(name="different examples", value=different)],
            remedies=[
                Remedy(
                    text="Let each batch take other rows: a generator or PyDataset that uses its "
                    "index, a tf.data.Dataset without .take(1) before .repeat()."
                )
            ],
        )
