"""Which rule is the root cause for every way to combine loss, head and labels, or none.

Each line: loss | activation and units | labels | first rule, `?` for a WARNING instead of an ERROR,
`-` for silence.
"""

import numpy as np
import pytest

from lossdoctor.engine import diagnose_record
from lossdoctor.finding import Severity
from lossdoctor.rules import rule_classes
from tests.records import config_record, mlp

RULES = (
    "single_unit_softmax",
    "missing_final_activation",
    "double_softmax",
    "final_activation_range",
    "output_units",
    "loss_label_encoding",
    "labels_out_of_range",
    "hinge_label_encoding",
    "loss_task",
    "metric_task",
)
ROWS = 150
IDS = np.arange(ROWS) % 3
BITS = np.arange(ROWS) % 2
NORMAL = np.random.default_rng(0).normal(size=ROWS)
LABELS = {
    "0/1": BITS,
    "0/1 column": BITS[:, None],
    "-1/1": 2 * BITS - 1,
    "1/2": BITS + 1,
    "ids": IDS,
    "ids column": IDS[:, None],
    "ids from 1": IDS + 1,
    "one-hot": np.eye(3)[IDS],
    "one-hot 2": np.eye(2)[BITS],
    "multi-label": np.stack([BITS, IDS > 0, IDS == 2], axis=1).astype(float),
    "soft": 0.1 + 0.7 * np.eye(3)[IDS],
    "grey": np.random.default_rng(1).uniform(size=(ROWS, 8)),
    "grey column": np.random.default_rng(1).uniform(size=ROWS),
    "bytes": np.random.default_rng(1).integers(0, 256, size=(ROWS, 8)),
    "standardized": NORMAL,
    "standardized rows": np.random.default_rng(1).normal(size=(ROWS, 3)),
    "hundreds": 100 * NORMAL,
    "positive": np.abs(NORMAL) + 0.01,
    "counts": np.round(np.abs(40 * NORMAL)),
}
MATRIX = """
binary_crossentropy | sigmoid 1 | 0/1 | -
binary_crossentropy | sigmoid 1 | 0/1 column | -
binary_crossentropy | sigmoid 1 | -1/1 | labels_out_of_range
binary_crossentropy | sigmoid 1 | 1/2 | labels_out_of_range
binary_crossentropy | sigmoid 1 | ids | loss_label_encoding
binary_crossentropy | sigmoid 1 | ids from 1 | loss_label_encoding
binary_crossentropy | sigmoid 1 | one-hot | output_units
binary_crossentropy | sigmoid 1 | standardized | loss_task
binary_crossentropy | sigmoid 1 | hundreds | loss_task
binary_crossentropy | sigmoid 1 | counts | loss_task
binary_crossentropy | sigmoid 1 | grey column | -
binary_crossentropy | sigmoid 8 | grey | -
binary_crossentropy | sigmoid 8 | bytes | labels_out_of_range
binary_crossentropy | sigmoid 3 | standardized rows | loss_task
binary_crossentropy | sigmoid 3 | one-hot | -
binary_crossentropy | sigmoid 3 | multi-label | -
binary_crossentropy | sigmoid 3 | soft | -
binary_crossentropy | sigmoid 3 | ids | loss_label_encoding
binary_crossentropy | sigmoid 2 | 0/1 | output_units
binary_crossentropy | sigmoid 2 | one-hot | output_units
binary_crossentropy | linear 1 | 0/1 | missing_final_activation
binary_crossentropy | relu 1 | 0/1 | missing_final_activation
binary_crossentropy | tanh 1 | 0/1 | missing_final_activation
binary_crossentropy | softplus 1 | 0/1 | missing_final_activation
binary_crossentropy | elu 1 | 0/1 | missing_final_activation
binary_crossentropy | linear 1 | -1/1 | labels_out_of_range
binary_crossentropy | tanh 1 | -1/1 | labels_out_of_range
binary_crossentropy | linear 1 | standardized | loss_task
binary_crossentropy | linear 3 | one-hot | missing_final_activation
binary_crossentropy | linear 3 | multi-label | missing_final_activation
binary_crossentropy | linear 3 | ids | loss_label_encoding
binary_crossentropy | linear 8 | grey | missing_final_activation
binary_crossentropy | softmax 1 | 0/1 | single_unit_softmax
binary_crossentropy | softmax 1 | standardized | single_unit_softmax
binary_crossentropy | softmax 2 | one-hot 2 | ? loss_task
binary_crossentropy | softmax 3 | one-hot | ? loss_task
binary_crossentropy | softmax 3 | multi-label | loss_task
binary_crossentropy | softmax 2 | 0/1 | loss_label_encoding
binary_crossentropy | softmax 2 | 0/1 column | loss_label_encoding
binary_crossentropy | softmax 3 | ids | loss_label_encoding
binary_focal_crossentropy | sigmoid 1 | 0/1 | -
binary_focal_crossentropy | linear 1 | 0/1 | missing_final_activation
binary_focal_crossentropy | sigmoid 1 | -1/1 | labels_out_of_range
categorical_crossentropy | softmax 3 | one-hot | -
categorical_crossentropy | softmax 3 | soft | -
categorical_crossentropy | softmax 2 | one-hot 2 | -
categorical_crossentropy | softmax 3 | ids | loss_label_encoding
categorical_crossentropy | softmax 3 | ids column | loss_label_encoding
categorical_crossentropy | softmax 3 | ids from 1 | loss_label_encoding
categorical_crossentropy | softmax 2 | 0/1 | loss_label_encoding
categorical_crossentropy | softmax 2 | one-hot | output_units
categorical_crossentropy | softmax 5 | one-hot | output_units
categorical_crossentropy | softmax 2 | ids | output_units
categorical_crossentropy | softmax 3 | multi-label | loss_task
categorical_crossentropy | softmax 3 | standardized rows | loss_task
categorical_crossentropy | softmax 8 | grey | loss_task
categorical_crossentropy | softmax 1 | 0/1 | single_unit_softmax
categorical_crossentropy | softmax 1 | ids | single_unit_softmax
categorical_crossentropy | sigmoid 1 | 0/1 | output_units
categorical_crossentropy | linear 1 | 0/1 | output_units
categorical_crossentropy | relu 1 | ids | output_units
categorical_crossentropy | sigmoid 1 | standardized | loss_task
categorical_crossentropy | sigmoid 3 | one-hot | ? loss_task
categorical_crossentropy | sigmoid 3 | multi-label | loss_task
categorical_crossentropy | sigmoid 3 | ids | loss_label_encoding
categorical_crossentropy | linear 3 | one-hot | missing_final_activation
categorical_crossentropy | relu 3 | one-hot | missing_final_activation
categorical_crossentropy | tanh 3 | one-hot | missing_final_activation
categorical_crossentropy | softplus 3 | one-hot | missing_final_activation
categorical_crossentropy | linear 3 | ids | loss_label_encoding
categorical_focal_crossentropy | softmax 3 | one-hot | -
sparse_categorical_crossentropy | softmax 3 | ids | -
sparse_categorical_crossentropy | softmax 3 | ids column | -
sparse_categorical_crossentropy | softmax 2 | 0/1 | -
sparse_categorical_crossentropy | softmax 5 | ids | -
sparse_categorical_crossentropy | softmax 4 | ids from 1 | -
sparse_categorical_crossentropy | softmax 3 | ids from 1 | labels_out_of_range
sparse_categorical_crossentropy | softmax 2 | -1/1 | labels_out_of_range
sparse_categorical_crossentropy | softmax 2 | ids | output_units
sparse_categorical_crossentropy | softmax 2 | ids from 1 | output_units
sparse_categorical_crossentropy | softmax 3 | one-hot | loss_label_encoding
sparse_categorical_crossentropy | softmax 3 | soft | loss_label_encoding
sparse_categorical_crossentropy | softmax 3 | multi-label | loss_label_encoding
sparse_categorical_crossentropy | softmax 3 | standardized | loss_task
sparse_categorical_crossentropy | softmax 3 | counts | loss_task
sparse_categorical_crossentropy | softmax 2 | grey column | loss_task
sparse_categorical_crossentropy | softmax 1 | 0/1 | single_unit_softmax
sparse_categorical_crossentropy | sigmoid 1 | 0/1 | output_units
sparse_categorical_crossentropy | linear 1 | ids | output_units
sparse_categorical_crossentropy | sigmoid 3 | ids | ? loss_task
sparse_categorical_crossentropy | linear 3 | ids | missing_final_activation
sparse_categorical_crossentropy | relu 3 | ids | missing_final_activation
sparse_categorical_crossentropy | tanh 3 | ids from 1 | labels_out_of_range
kl_divergence | softmax 3 | one-hot | -
kl_divergence | softmax 3 | soft | -
kl_divergence | softmax 3 | ids | loss_label_encoding
kl_divergence | softmax 3 | ids column | loss_label_encoding
kl_divergence | softmax 2 | 0/1 | loss_label_encoding
kl_divergence | softmax 3 | multi-label | loss_label_encoding
kl_divergence | softmax 8 | grey | loss_label_encoding
kl_divergence | softmax 3 | standardized rows | loss_task
kl_divergence | sigmoid 1 | 0/1 | output_units
kl_divergence | softmax 1 | 0/1 | single_unit_softmax
kl_divergence | sigmoid 3 | one-hot | loss_task
kl_divergence | linear 3 | one-hot | missing_final_activation
kl_divergence | sigmoid 1 | standardized | loss_task
hinge | tanh 1 | -1/1 | -
hinge | linear 1 | -1/1 | -
hinge | elu 1 | -1/1 | -
hinge | tanh 1 | 0/1 | ? hinge_label_encoding
hinge | linear 1 | 0/1 | ? hinge_label_encoding
hinge | tanh 3 | one-hot | ? hinge_label_encoding
hinge | sigmoid 1 | -1/1 | final_activation_range
hinge | sigmoid 1 | 0/1 | final_activation_range
hinge | relu 1 | -1/1 | final_activation_range
hinge | softplus 1 | -1/1 | final_activation_range
hinge | softmax 2 | one-hot 2 | final_activation_range
hinge | softmax 1 | -1/1 | single_unit_softmax
hinge | tanh 1 | 1/2 | labels_out_of_range
hinge | sigmoid 1 | 1/2 | labels_out_of_range
hinge | tanh 1 | ids | labels_out_of_range
hinge | tanh 2 | -1/1 | output_units
hinge | linear 1 | standardized | loss_task
squared_hinge | tanh 1 | -1/1 | -
squared_hinge | sigmoid 1 | -1/1 | final_activation_range
squared_hinge | tanh 1 | 0/1 | ? hinge_label_encoding
categorical_hinge | linear 3 | one-hot | -
categorical_hinge | softmax 3 | one-hot | -
categorical_hinge | tanh 3 | one-hot | -
categorical_hinge | linear 3 | ids | loss_label_encoding
categorical_hinge | tanh 1 | -1/1 | output_units
categorical_hinge | linear 3 | multi-label | loss_task
mean_squared_error | linear 1 | standardized | -
mean_squared_error | linear 1 | hundreds | -
mean_squared_error | linear 1 | counts | -
mean_squared_error | linear 1 | 0/1 | -
mean_squared_error | linear 1 | -1/1 | -
mean_squared_error | linear 1 | ids | -
mean_squared_error | linear 3 | standardized rows | -
mean_squared_error | linear 3 | multi-label | -
mean_squared_error | linear 3 | standardized | output_units
mean_squared_error | linear 1 | standardized rows | output_units
mean_squared_error | linear 3 | ids | loss_task
mean_squared_error | linear 3 | ids column | loss_task
mean_squared_error | linear 3 | one-hot | i loss_task
mean_squared_error | relu 1 | positive | -
mean_squared_error | relu 1 | counts | -
mean_squared_error | relu 1 | standardized | final_activation_range
mean_squared_error | relu 1 | -1/1 | final_activation_range
mean_squared_error | sigmoid 1 | 0/1 | -
mean_squared_error | sigmoid 1 | grey column | -
mean_squared_error | sigmoid 8 | grey | -
mean_squared_error | sigmoid 8 | bytes | final_activation_range
mean_squared_error | sigmoid 1 | hundreds | final_activation_range
mean_squared_error | sigmoid 1 | standardized | final_activation_range
mean_squared_error | sigmoid 1 | -1/1 | final_activation_range
mean_squared_error | sigmoid 1 | ids | final_activation_range
mean_squared_error | sigmoid 3 | one-hot | -
mean_squared_error | sigmoid 3 | multi-label | -
mean_squared_error | tanh 1 | -1/1 | -
mean_squared_error | tanh 1 | 0/1 | -
mean_squared_error | tanh 1 | standardized | final_activation_range
mean_squared_error | softplus 1 | standardized | final_activation_range
mean_squared_error | softplus 1 | positive | -
mean_squared_error | elu 1 | hundreds | final_activation_range
mean_squared_error | softmax 1 | standardized | single_unit_softmax
mean_squared_error | softmax 3 | standardized | final_activation_range
mean_squared_error | softmax 3 | standardized rows | final_activation_range
mean_squared_error | softmax 3 | soft | -
mean_squared_error | softmax 3 | one-hot | i loss_task
mean_squared_error | softmax 3 | ids | loss_task
mean_squared_error | softmax 3 | ids column | loss_task
mean_squared_error | softmax 2 | 0/1 | loss_task
mean_squared_error | softmax 3 | multi-label | final_activation_range
mean_absolute_error | linear 1 | hundreds | -
mean_absolute_error | sigmoid 1 | hundreds | final_activation_range
mean_absolute_error | softmax 3 | one-hot | i loss_task
huber | tanh 1 | hundreds | final_activation_range
log_cosh | relu 1 | standardized | final_activation_range
mean_squared_logarithmic_error | linear 1 | positive | -
mean_squared_logarithmic_error | linear 1 | standardized | labels_out_of_range
mean_squared_logarithmic_error | relu 1 | standardized | labels_out_of_range
mean_squared_logarithmic_error | sigmoid 1 | positive | final_activation_range
mean_absolute_percentage_error | linear 1 | positive | -
mean_absolute_percentage_error | linear 1 | counts | labels_out_of_range
poisson | softplus 1 | counts | -
poisson | exponential 1 | counts | -
poisson | relu 1 | counts | -
poisson | linear 1 | counts | final_activation_range
poisson | sigmoid 1 | counts | final_activation_range
poisson | softplus 1 | standardized | labels_out_of_range
poisson | softmax 3 | ids | loss_task
cosine_similarity | linear 3 | standardized rows | -
cosine_similarity | linear 1 | standardized | loss_task
cosine_similarity | relu 3 | standardized rows | final_activation_range
"""
LINES = [line for line in MATRIX.splitlines() if line]


def found_by_contract(record):
    """What the contract rules find."""
    diagnosis = diagnose_record(record, rules=[rule_classes()[slug]() for slug in RULES])
    assert not [outcome for outcome in diagnosis.outcomes if outcome.status == "failed"]
    return diagnosis.findings


def root(record):
    """Their first finding of at least WARNING; None when there is none."""
    return next((f for f in found_by_contract(record) if f.severity > Severity.INFO), None)


@pytest.mark.parametrize("line", LINES)
def test_one_rule_is_the_root_cause(line):
    loss, head, labels, expected = (part.strip() for part in line.split("|"))
    activation, units = head.split()
    model = mlp(units=int(units), activation=activation)
    record = config_record(model=model, loss=loss, y=LABELS[labels])
    found = root(record)
    if expected == "-":
        assert found is None
        return
    if expected.startswith("i "):
        assert found is None
        assert expected.removeprefix("i ") in [f.rule for f in found_by_contract(record)]
        return
    severity = Severity.WARNING if expected.startswith("?") else Severity.ERROR
    assert found is not None
    assert (found.rule, found.severity) == (expected.removeprefix("? "), severity)
    assert found.explained_by is None
    assert found.remedies[0].code
    compile(found.remedies[0].code, "remedy", "exec")


@pytest.mark.parametrize("loss", ["my_loss", "tversky", "ctc"])
def test_a_loss_of_unknown_demands_is_not_judged(loss):
    for activation, units in (("linear", 1), ("sigmoid", 3), ("softmax", 3)):
        model = mlp(units=units, activation=activation)
        assert root(config_record(model=model, loss=loss, y=LABELS["ids"])) is None


def test_few_rows_are_not_taken_for_classes():
    line = np.arange(1, 11)
    assert root(config_record(y=line, metrics=None)) is None
    assert root(config_record(y=line**2)) is None
    xor = np.array([0, 1, 1, 0])
    assert root(config_record(model=mlp(activation="sigmoid"), y=xor)) is None
    three = config_record(
        model=mlp(units=3, activation="softmax"),
        loss="sparse_categorical_crossentropy",
        y=np.array([0, 1, 2]),
    )
    assert root(three) is None
