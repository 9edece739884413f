import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

BITS = np.arange(200) % 2
NORMAL = np.random.default_rng(0).normal(size=500)


def of(activation, y, loss="mean_squared_error", units=1, **thresholds):
    record = config_record(model=mlp(units=units, activation=activation), loss=loss, y=y)
    return findings_of("final_activation_range", record, **thresholds)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softplus", "elu"])
def test_large_targets_get_a_linear_head_and_are_standardized(activation):
    (finding,) = of(activation, 100 * NORMAL)
    assert finding.severity is Severity.ERROR
    code = finding.remedies[0].code
    assert code.startswith("y = (np.asarray(y) - ")
    assert '"activation": "linear"' in code


def test_inputs_to_be_given_back_by_a_sigmoid_are_scaled_with_the_targets():
    model = mlp(units=20, activation="sigmoid")
    grey = np.random.default_rng(0).integers(0, 256, size=(200, 20)).astype(float)
    record = config_record(model=model, loss="mean_squared_error", x=grey, y=grey)
    (finding,) = findings_of("final_activation_range", record)
    names = {"X": grey, "y": grey, "X_val": grey, "y_val": grey, "np": np}
    exec(finding.remedies[0].code, names)
    assert names["X"].max() == names["y"].max() == 1
    assert '"activation": "linear"' in finding.remedies[1].code
    other = config_record(model=model, loss="mean_squared_error", x=grey, y=grey + 500)
    assert "linear" in findings_of("final_activation_range", other)[0].remedies[0].code


def test_standardized_targets_only_need_the_head():
    (finding,) = of("sigmoid", NORMAL)
    assert "targets lie outside" in finding.message
    assert "y =" not in finding.remedies[0].code


def test_a_head_that_cannot_reach_minus_one_under_hinge():
    for activation in ("sigmoid", "relu", "gelu"):
        (finding,) = of(activation, 2 * BITS - 1, "hinge")
        assert '"activation": "tanh"' in finding.remedies[0].code
    for activation in ("tanh", "linear", "elu", "leaky_relu"):
        assert not of(activation, 2 * BITS - 1, "hinge")


def test_a_head_below_zero_under_poisson():
    (finding,) = of("linear", BITS * 3, "poisson")
    assert "logarithm" in finding.message
    assert '"activation": "softplus"' in finding.remedies[0].code


def test_a_softmax_under_regression():
    (finding,) = of("softmax", np.stack([NORMAL] * 3, axis=1), units=3)
    assert "sum to 1" in finding.message
    (finding,) = of("softmax", NORMAL, units=3)
    assert '"units": 1, "activation": "linear"' in finding.remedies[0].code
    assert not of("softmax", np.random.default_rng(0).dirichlet(np.ones(3), 100), units=3)


def test_few_outliers_are_a_warning():
    grey = np.random.default_rng(0).uniform(size=1000)
    grey[:2] = 1.5
    (finding,) = of("sigmoid", grey)
    assert finding.severity is Severity.WARNING
    (finding,) = of("sigmoid", grey, unreachable_share=1e-6)
    assert finding.severity is Severity.ERROR


def test_vectors_that_point_the_other_way():
    rows = np.random.default_rng(0).normal(size=(100, 3))
    assert of("relu", rows, "cosine_similarity", units=3)
    assert not of("relu", np.abs(rows) * 50, "cosine_similarity", units=3)
    assert not of("tanh", rows * 50, "cosine_similarity", units=3)


def test_silent_on_targets_within_reach():
    images = np.random.default_rng(0).uniform(size=(100, 8))
    assert not of("sigmoid", images, units=8)
    assert not of("sigmoid", BITS)
    assert not of("sigmoid", np.where(BITS, 1.00000006, 0.0))
    assert not of("relu", np.abs(NORMAL))
    assert not of("tanh", 2 * BITS - 1)
    assert not of("linear", 1000 * NORMAL)
    assert not of("sigmoid", 2 * BITS - 1, "binary_crossentropy")


def test_not_applicable_where_the_head_is_unknown():
    outcome = outcome_of(
        "final_activation_range", config_record(model=mlp(activation=None), y=BITS)
    )
    assert "not known" in outcome.reason
    history = outcome_of("final_activation_range", RunRecord(source="history"))
    assert history.status == "not_applicable"
