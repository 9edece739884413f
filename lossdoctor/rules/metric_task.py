from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.label_encoding import Judged, Kind
from lossdoctor.evidence.metric_fit import MetricFault, MetricFit
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.record.run import MetricRecord
from lossdoctor.rules._remedies.code import Code, compile_code
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class MetricTask(Rule):
    """The logged accuracy, or loss, does not measure what its name says.

    **What it detects.** Accuracy on continuous targets; accuracy with labels -1 and 1; binary
    accuracy over one-hot rows of three or more classes; a sparse accuracy on rows and a
    categorical one on class ids; accuracy that compares probabilities for equality; a `train_step`
    that logs a loss it never updates.

    **Why it matters.** The training may be sound and its number meaningless: 0.00 on a good
    regression, half of the truth with labels -1 and 1, 1 - 1/C for a model that answers 0
    everywhere. Decisions taken on that number (more epochs, another model) are wrong.

    **How it is measured.** From the class Keras resolves "accuracy" to for these shapes, the kind
    of the labels and the width of the head; what is logged is looked up while the step is traced.

    **How to fix it.** An error in the target's own unit for regression (`mae`); "accuracy" as a
    string for classes, which Keras resolves by shape; for -1 and 1 the agreement of signs.

    **When it is wrong.** It says nothing about the loss. A threshold set on a metric object is not
    seen; scores compared with 0.5 are therefore only INFO.

    **References.** Keras API, accuracy metrics. `tests/test_keras_facts.py` trains the cases.
    """

    title = "Accuracy does not fit the labels"
    severity = Severity.WARNING
    # A wrong number misleads whoever compares models by it; it does not disturb the steps.
    stage = Stage.ARCHITECTURE
    explains = frozenset({"loss_metric_divergence"})

    def check(self, fit: MetricFit) -> Findings:
        if fit.zero_epochs:
            yield self._always_zero(fit.zero_epochs)
        if fit.stale_loss:
            yield self.finding(
                "The loss that this run's train_step logs is the result of a metric that the step "
                "never updates: it stays 0, whatever the model learns.",
                title="Logged loss is never updated",
                remedies=[Remedy(text=_UPDATE, code=_UPDATE_CODE)],
            )
        for metric, judged, fault in fit.faults:
            labels = judged.labels
            inflated = fault is MetricFault.PER_ENTRY
            yield self.finding(
                f"'{metric.requested}' of {judged.head.label} is computed on {labels.described}: "
                f"{_CONSEQUENCE[fault]}.",
                severity=Severity.INFO if fault is MetricFault.LOGITS_AT_HALF else None,
                measurements=[
                    Measurement(name="score of answering 0 everywhere", value=labels.zero_fraction)
                    if inflated
                    else Measurement(name="distinct targets", value=labels.classes)
                ],
                layers=judged.head.layer_names,
                remedies=[_remedy(fit.setup, metric, judged, fault)],
            )

    def _always_zero(self, epochs: int) -> Finding:
        return self.finding(
            f"The accuracy is exactly 0 in all {epochs} epochs, less than any guessing of "
            "classes gives: it counts exact hits, which quantities hardly ever are.",
            measurements=[Measurement(name="best accuracy", value=0.0)],
            remedies=[Remedy(text=_REPLACEMENT[MetricFault.ON_QUANTITIES][0])],
        )


def _remedy(
    setup: Setup | None, metric: MetricRecord, judged: Judged, fault: MetricFault
) -> Remedy:
    if fault is MetricFault.ON_OTHER_LABELS and judged.labels.kind is not Kind.SIGN:
        return Remedy(text=_NUMBER_FROM_0)
    text, replacement = _REPLACEMENT.get(fault, _BY_SHAPE)
    if setup is None or len(setup.losses) != 1:
        return Remedy(text=text)
    kept = [m.requested for m in setup.metrics if m.requested != metric.requested]
    define = _SIGN_ACCURACY if replacement == "sign_accuracy" else ""
    return Remedy(text=text, code=define + compile_code(setup, metrics=[replacement, *kept]))


_CONSEQUENCE = {
    MetricFault.ON_QUANTITIES: "it counts exact hits, which quantities hardly ever are",
    MetricFault.ON_OTHER_LABELS: "it compares answers 0 and 1 with labels that are not",
    MetricFault.PER_ENTRY: "it counts entries, most of which are 0, instead of examples",
    MetricFault.ROWS_AS_IDS: "it expects one class id per example",
    MetricFault.IDS_AS_ROWS: "it takes the largest entry of a column of ids, which is always 0",
    MetricFault.ONE_UNIT: "the largest of one unit is always that unit, so it is 1.0",
    MetricFault.EXACT: "it counts predictions exactly equal to the label",
    MetricFault.LOGITS_AT_HALF: "it compares logits with 0.5, which is a probability of 0.62",
}
_BY_SHAPE = ('Write metrics=["accuracy"]: Keras then picks the one for these shapes.', "accuracy")
_REPLACEMENT: dict[MetricFault, tuple[str, str]] = {
    MetricFault.ON_QUANTITIES: ("Report the mean absolute error: it has the targets' unit.", "mae"),
    MetricFault.ON_OTHER_LABELS: (
        "Count how often prediction and label have the same sign.",
        Code("sign_accuracy"),
    ),
    MetricFault.LOGITS_AT_HALF: (
        "Let the metric decide at a logit of 0.",
        Code('keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")'),
    ),
}
_NUMBER_FROM_0 = (
    "Number the classes from 0 and give the head one softmax unit for each (one sigmoid unit for "
    "two): accuracy then compares classes with classes."
)
_SIGN_ACCURACY = """\
def sign_accuracy(y_true, y_pred):
    y_true = keras.ops.cast(keras.ops.reshape(y_true, keras.ops.shape(y_pred)), y_pred.dtype)
    same = keras.ops.sign(y_true) == keras.ops.sign(y_pred)
    return keras.ops.mean(keras.ops.cast(same, "float32"), axis=-1)
"""
_UPDATE = "Update every metric in `train_step`, that of the loss with the loss."
_UPDATE_CODE = """\
# in train_step, before it returns its logs
for metric in self.metrics:
    if metric.name == "loss":
        metric.update_state(loss)
    else:
        metric.update_state(y, y_pred)
"""
