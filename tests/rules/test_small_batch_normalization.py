import dataclasses

import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import FitRecord, RunRecord
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    layer,
    learned,
    mlp,
    outcome_of,
)

SLUG = "small_batch_normalization"
Y = np.arange(200) % 2


def record(batch_size, *, shape=(None, 25), momentum=0.99, epochs=100, rows=200, trainable=True):
    normalization = dataclasses.replace(
        layer("bn", "BatchNormalization", momentum=momentum),
        output_shape=shape,
        trainable=trainable,
    )
    model = chain(dense("a", 25, 20, activation="relu"), normalization, dense("head", 1, 25))
    base = config_record(
        model=model, y=Y[:rows], fit=FitRecord(epochs=epochs, batch_size=batch_size)
    )
    return dataclasses.replace(base, train=dataclasses.replace(base.train, batch_size=batch_size))


def test_a_single_value_less_its_own_mean_is_zero():
    for width, count in ((1, 1), (5, 0)):
        shape = (None, 24, width)
        alone = layer("alone", "LayerNormalization", axis=[-1])
        alone = dataclasses.replace(alone, input_shape=shape, output_shape=shape)
        model = chain(alone, dense("a", 25, width, activation="relu"), dense("head", 1, 25))
        findings = findings_of(SLUG, config_record(model=model, y=Y))
        assert len(findings) == count
        assert all(f.severity is Severity.ERROR and f.layers == ("alone",) for f in findings)


def test_larger_batches_mean_fewer_steps_for_the_moving_statistics():
    (finding,) = findings_of(SLUG, record(2, epochs=10))
    assert '"bn": {"momentum": 0.9}' in finding.remedies[0].code
    assert finding.remedies[0].code.endswith("\nbatch_size = 32")
    assert "With momentum 0.9" in finding.remedies[0].text


def test_statistics_of_two_values():
    (finding,) = findings_of(SLUG, record(2))
    assert finding.severity is Severity.WARNING
    assert "mean and spread of 2 values (batches of 2)" in finding.message
    assert finding.remedies[0].code == "batch_size = 32"
    assert "LayerNormalization" in finding.remedies[1].code


def test_statistics_of_one_value_are_an_error():
    (finding,) = findings_of(SLUG, record(1))
    assert finding.severity is Severity.ERROR


def test_threshold_counts_positions_of_images():
    assert findings_of(SLUG, record(8)) == ()
    assert len(findings_of(SLUG, record(7))) == 1
    assert findings_of(SLUG, record(1, shape=(None, 8, 8, 16))) == ()
    assert findings_of(SLUG, record(1, shape=(None, None, 16))) == ()


def test_few_rows_leave_no_larger_batch():
    (finding,) = findings_of(SLUG, record(2, rows=20))
    assert "LayerNormalization" in finding.remedies[0].code


def test_moving_statistics_that_cannot_settle():
    (finding,) = findings_of(SLUG, record(32, momentum=0.99999))
    assert "to 99% of their start" in finding.message
    assert '"bn": {"momentum": 0.9}' in finding.remedies[0].code
    assert len(findings_of(SLUG, record(32, epochs=9))) == 1  # 63 steps: 0.53
    assert findings_of(SLUG, record(32, epochs=10)) == ()  # 70 steps: 0.49


def test_frozen_statistics_and_learned_runs():
    assert outcome_of(SLUG, record(2, trainable=False)).status == "not_applicable"
    assert findings_of(SLUG, learned(record(2), 0.95))[0].severity is Severity.INFO


def test_not_applicable_without_normalization_or_batch_size():
    assert outcome_of(SLUG, config_record(model=mlp(), y=Y)).status == "not_applicable"
    unknown = dataclasses.replace(record(2), train=None, fit=None)
    assert "batch_size=" in outcome_of(SLUG, unknown).reason
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"
