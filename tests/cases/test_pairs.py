"""Two faults at once: both are named, and the one without which nothing else helps comes first."""

from dataclasses import replace

import keras
import pytest

from lossdoctor import LossDoctor, check_config
from lossdoctor.cases import get_case
from lossdoctor.finding import Severity

pytestmark = pytest.mark.train

EPOCHS = 10

# What breaks the contract of loss, labels and head; then the data; then the steps; then the
# architecture; then the budget. The second fault is put into the first twin.
PAIRS = [
    ("circles-bce/labels-minus-1-1", "circles-bce/features-x1000"),
    ("circles-bce/labels-minus-1-1", "circles-bce/no-hidden-activation"),
    ("circles-bce/softmax-head", "circles-bce/learning-rate-x1000"),
    ("circles-bce/softmax-head", "circles-bce/frozen-model"),
    ("blobs-sparse/relu-head", "blobs-categorical/features-x1000"),
    ("regression-mse/sigmoid-head", "regression-mse/target-outliers"),
    ("regression-mse/relu-head", "regression-mse/one-feature-x1e5"),
    ("regression-mse/softmax-head", "regression-mse/accuracy-metric"),
    ("regression-mse/nan-in-x", "circles-bce/no-hidden-activation"),
    ("circles-bce/features-x1000", "circles-bce/no-hidden-activation"),
    ("regression-mse/unscaled-target", "regression-mse/frozen-hidden-layer"),
    ("digits/flipped-labels", "digits/hidden-softmax"),
    ("regression-mse/missing-values-999", "regression-mse/frozen-hidden-layer"),
    ("regression-mse/learning-rate-0", "regression-mse/frozen-hidden-layer"),
    ("blobs-sparse-adam/learning-rate-x1000", "circles-bce/no-hidden-activation"),
    ("regression-mse/learning-rate-div-1000", "regression-mse/accuracy-metric"),
    ("regression-mse/dropout-0.8", "regression-mse/two-epochs"),
]


def named(report):
    return [f.rule for f in report.findings if f.severity >= Severity.WARNING]


def broken_twice(first, second):
    recipe = replace(first.recipe, epochs=EPOCHS)
    keras.backend.clear_session()
    return replace(first, recipe=second.inject(recipe)).materialize(seed=1)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_both_faults_are_named_and_the_one_to_repair_first_leads(first, second):
    first, second = get_case(first), get_case(second)
    trial = broken_twice(first, second)
    doctor = LossDoctor(verbose=0)
    trial.train([doctor])
    found = named(doctor.report)
    assert found[0] in first.right_answers
    assert {*second.right_answers} & {*found}
    if first.found_before_training:
        trial = broken_twice(first, second)
        report = check_config(
            trial.model,
            trial.y,
            x=trial.X,
            validation_data=(trial.X_val, trial.y_val),
            epochs=trial.epochs,
            batch_size=trial.batch_size,
        )
        assert named(report)[0] in first.right_answers
