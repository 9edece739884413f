from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.label_encoding import Kind, LabelEncoding
from lossdoctor.evidence.output_head import LossFamily
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.labels import encode_lines, to_signs
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class HingeLabelEncoding(Rule):
    """Labels 0 and 1 under a hinge loss, which is defined on -1 and 1.

    **What it detects.** Targets that hold nothing but 0 and 1 under `hinge` or `squared_hinge`.

    **Why it matters.** Keras converts a batch whose labels are all 0 or 1 to -1 and 1 inside the
    loss, so the training is exactly that of -1 and 1. The code says something else than what
    runs: a loss written by hand, another library or an exported label file has no such
    conversion, and one stray label of another value switches it off for its whole batch.

    **How it is measured.** From the distinct values of the targets.

    **How to fix it.** Map the labels to -1 and 1 before training.

    **When it is wrong.** It is never the reason for a bad loss curve: look at the other findings.
    Labels other than 0 and 1 are not converted; `labels_out_of_range` reports them.

    **References.** Keras API: "if binary (0 or 1) labels are provided they will be converted to
    -1 or 1". `tests/test_keras_facts.py` trains both and compares the losses.
    """

    title = "Labels 0 and 1 under a hinge loss"
    severity = Severity.WARNING
    # Nothing trains better for it, so every other repair comes first.
    stage = Stage.BUDGET

    def check(self, encoding: LabelEncoding) -> Findings:
        for judged in encoding.judged:
            zero_one = judged.labels.kind in (Kind.BINARY, Kind.ONE_HOT, Kind.MULTI_LABEL)
            if judged.family is LossFamily.HINGE and zero_one:
                yield self.finding(
                    f"{judged.head.loss.name} is defined on labels -1 and 1 and these are 0 and 1: "
                    "Keras converts them inside the loss, so training is not affected.",
                    measurements=[
                        Measurement(
                            name="lowest label",
                            value=judged.labels.low,
                            threshold=-1,
                            fires="above",
                        )
                    ],
                    layers=judged.head.layer_names,
                    remedies=[
                        Remedy(
                            text="Map the labels to -1 and 1, so that the data say what is "
                            "trained. A metric that compares labels with a threshold of 0.5 must "
                            "then be replaced.",
                            code="\n".join(encode_lines(encoding.setup, to_signs(judged.labels))),
                        )
                    ],
                )
