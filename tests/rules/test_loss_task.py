import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity, Stage
from lossdoctor.record.run import RunRecord, TargetPairing
from tests.records import config_record, findings_of, mlp, outcome_of, trained

IDS = np.arange(150) % 3
BITS = np.arange(150) % 2
ONE_HOT = np.eye(3)[IDS]
NORMAL = np.random.default_rng(0).normal(size=150)
ACCURACY = {"accuracy": "BinaryAccuracy"}


def record(activation, y, loss="mean_squared_error", units=1, metrics=None, **pairing):
    made = config_record(
        model=mlp(units=units, activation=activation), loss=loss, y=y, metrics=metrics
    )
    if not pairing:
        return made
    pairs = (TargetPairing(output=0, rows=150, **pairing),)
    return dataclasses.replace(made, train=dataclasses.replace(made.train, pairing=pairs))


def of(*arguments, **options):
    return findings_of("loss_task", record(*arguments, **options))


@pytest.mark.parametrize(
    "loss", ["binary_crossentropy", "sparse_categorical_crossentropy", "hinge", "kl_divergence"]
)
def test_a_class_loss_on_quantities(loss):
    (finding,) = of("sigmoid", 30 * NORMAL, loss)
    assert finding.severity is Severity.ERROR
    code = finding.remedies[0].code
    assert code.startswith("y = (np.asarray(y)")
    assert '"activation": "linear"' in code
    assert 'loss="mse"' in code


def test_ids_subtracted_from_scores():
    for y in (IDS, IDS[:, None]):
        (finding,) = of("softmax", y, units=3)
        assert finding.severity is Severity.ERROR
        assert 'loss="sparse_categorical_crossentropy"' in finding.remedies[0].code


def test_ids_regressed_on_are_a_fault_where_an_accuracy_is_asked_for():
    (finding,) = of("linear", IDS, metrics=ACCURACY)
    assert finding.severity is Severity.ERROR
    assert '"units": 3, "activation": "softmax"' in finding.remedies[0].code
    (finding,) = of("linear", IDS)
    assert finding.severity is Severity.INFO
    assert "grades" in finding.message


def test_counts_and_few_whole_numbers_are_quantities():
    assert not of("linear", np.arange(10) ** 2, metrics=ACCURACY)
    assert not of("linear", np.round(np.abs(40 * NORMAL)), metrics=ACCURACY)


def test_one_hot_rows_by_what_the_run_shows():
    assert of("softmax", ONE_HOT, units=3)[0].severity is Severity.INFO
    assert of("sigmoid", ONE_HOT, units=3)[0].severity is Severity.INFO
    good, bad = {"error_rate": 0.05}, {"error_rate": 0.6}
    for activation in ("softmax", "sigmoid"):
        (finding,) = of(activation, ONE_HOT, units=3, chance_error_rate=0.67, **good)
        assert finding.severity is Severity.INFO
        (finding,) = of(activation, ONE_HOT, units=3, chance_error_rate=0.67, **bad)
        assert finding.severity is Severity.WARNING
        assert 'loss="categorical_crossentropy"' in finding.remedies[0].code


@pytest.mark.parametrize(("share", "severity"), [(0.04, Severity.INFO), (0.06, Severity.WARNING)])
def test_bits_under_squared_error_work_unless_stuck(share, severity):
    (finding,) = of("sigmoid", BITS, saturated_wrong=share)
    assert finding.severity is severity
    assert 'loss="binary_crossentropy"' in finding.remedies[0].code


def test_bits_that_are_wrong_behind_another_head_are_not_the_losses_fault():
    (finding,) = of(None, BITS, saturated_wrong=0.5)
    assert finding.severity is Severity.INFO


def test_squared_errors_of_rows_come_after_faults_of_the_data():
    assert of("softmax", ONE_HOT, units=3)[0].stage is Stage.STEP_SIZE
    assert of("softmax", IDS, units=3)[0].stage is Stage.CONTRACT


def test_counts_under_poisson_are_no_classes():
    assert not of("softplus", IDS, "poisson", metrics=ACCURACY)


def test_softmax_under_binary_crossentropy():
    (finding,) = of("softmax", ONE_HOT, "binary_crossentropy", units=3)
    assert finding.severity is Severity.WARNING
    assert "a softmax that was not trained" in finding.message
    multi = np.stack([BITS, IDS > 0], axis=1)
    (finding,) = of("softmax", multi, "binary_crossentropy", units=2)
    assert finding.severity is Severity.ERROR
    assert '"activation": "sigmoid"' in finding.remedies[0].code


def test_sigmoids_under_a_categorical_loss():
    (finding,) = of("sigmoid", ONE_HOT, "categorical_crossentropy", units=3)
    assert finding.severity is Severity.WARNING
    assert '"activation": "softmax"' in finding.remedies[0].code
    (finding,) = of("sigmoid", ONE_HOT, "kl_divergence", units=3)
    assert finding.severity is Severity.ERROR


def test_several_ones_under_a_categorical_loss():
    multi = np.stack([BITS, IDS > 0, IDS == 1], axis=1)
    (finding,) = of("softmax", multi, "categorical_crossentropy", units=3)
    assert 'loss="binary_crossentropy"' in finding.remedies[0].code


def test_silent_where_loss_head_and_labels_agree():
    soft = 0.9 * ONE_HOT + 0.1 / 3
    padded = np.concatenate([ONE_HOT, np.zeros((10, 3))])
    assert not of("linear", NORMAL)
    assert not of("sigmoid", BITS, "binary_crossentropy")
    assert not of("sigmoid", ONE_HOT, "binary_crossentropy", units=3)
    for labels in (ONE_HOT, soft, padded):
        assert not of("softmax", labels, "categorical_crossentropy", units=3)
    grey = np.random.default_rng(0).uniform(size=(100, 8))
    for loss in ("binary_crossentropy", "mean_squared_error"):
        assert not of("sigmoid", grey, loss, units=8)


def test_not_applicable_without_labels():
    assert outcome_of("loss_task", RunRecord(source="history")).status == "not_applicable"


@pytest.mark.parametrize(("ratio", "severity"), [(1e-5, Severity.INFO), (1e-2, Severity.WARNING)])
def test_a_run_that_hardly_moved_shows_nothing_about_its_loss(ratio, severity):
    softmax = mlp(units=3, activation="softmax")
    compared = record("softmax", ONE_HOT, units=3, error_rate=0.6, chance_error_rate=0.67)
    run = trained(np.ones(20), ratio=ratio, model=softmax)
    (finding,) = findings_of("loss_task", dataclasses.replace(run, train=compared.train))
    assert finding.severity is severity
