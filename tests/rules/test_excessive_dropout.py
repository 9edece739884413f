import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity, Stage
from lossdoctor.record.run import RunRecord
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    layer,
    learned,
    mlp,
    outcome_of,
    weighted,
)

SLUG = "excessive_dropout"
Y = [0, 1] * 20
HEAD = dense("head", 1, 64)


def dropout(rate, units=64, name="drop", **changes):
    made = layer(name, "Dropout", rate=rate)
    shape = (None, units)
    return dataclasses.replace(made, input_shape=shape, output_shape=shape, **changes)


def found(*layers):
    return findings_of(SLUG, config_record(model=chain(*layers), y=Y))


def test_rates_above_one_half():
    (finding,) = found(dense("a", 64, 20, activation="relu"), dropout(0.7), HEAD)
    assert finding.severity is Severity.WARNING
    assert "'drop' drops 70% of the units, which leaves 19.2 of 64" in finding.message
    assert '"drop": {"rate": 0.2}' in finding.remedies[0].code


def test_silent_up_to_one_half():
    assert found(dense("a", 64, 20), dropout(0.5), HEAD) == ()


def test_dropout_behind_the_head():
    (finding,) = found(dense("a", 64, 20), HEAD, dropout(0.2, units=1))
    assert "of the answers themselves" in finding.message
    assert (finding.severity, finding.stage) == (Severity.ERROR, Stage.DATA)
    assert '"drop": {"rate": 0.0}' in finding.remedies[0].code


@pytest.mark.parametrize(
    ("rate", "units", "severity"),
    [
        (0.8, 64, Severity.ERROR),
        (0.8, 128, Severity.WARNING),
        (0.75, 16, Severity.WARNING),
    ],
)
def test_a_few_units_multiplied_many_times_are_graver_than_the_step_size(rate, units, severity):
    (finding,) = found(dense("a", units, 20), dropout(rate, units=units), HEAD)
    assert finding.severity is severity
    assert (finding.stage < Stage.STEP_SIZE) is (severity is Severity.ERROR)


def test_too_few_units_are_left():
    (finding,) = found(dense("a", 7, 20), dropout(0.5, units=7), HEAD)
    assert finding.measurements[0].name == "kept units"
    assert found(dense("a", 8, 20), dropout(0.5, units=8), HEAD) == ()


def test_recurrent_dropout():
    lstm = weighted(layer("lstm", "LSTM", dropout=0.0, recurrent_dropout=0.7), 20, 256)
    (finding,) = found(lstm, HEAD)
    assert '"lstm": {"recurrent_dropout": 0.2}' in finding.remedies[0].code


def test_dropout_of_ones_own_is_meant():
    own = dropout(0.8, custom=True)
    outcome = outcome_of(SLUG, config_record(model=chain(dense("a", 64, 20), own, HEAD), y=Y))
    assert outcome.status == "not_applicable"


def test_a_run_that_learned_makes_it_information():
    record = config_record(model=chain(dense("a", 64, 20), dropout(0.6), HEAD), y=Y)
    assert findings_of(SLUG, learned(record, 0.92))[0].severity is Severity.INFO
    assert findings_of(SLUG, learned(record, 0.5))[0].severity is Severity.WARNING


def test_not_applicable_without_dropout_or_model():
    assert outcome_of(SLUG, config_record(model=mlp())).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_small_layers_add_their_noise_in_a_regression():
    layers = []
    for number in range(4):
        layers += [
            dense(f"d{number}", 16, 16, activation="relu"),
            dropout(0.5, 16, f"drop{number}"),
        ]
    model = chain(*layers, dense("head", 1, 16))
    (finding,) = findings_of(SLUG, config_record(model=model, y=np.linspace(0, 1, 40)))
    assert [m.name for m in finding.measurements] == ["noise"]
    assert finding.measurements[0].value == pytest.approx(0.25)
    assert finding.layers == ("drop0", "drop1", "drop2", "drop3")
    classes = config_record(model=model, y=[0, 1] * 20, loss="binary_crossentropy")
    assert findings_of(SLUG, classes) == ()
    few = chain(*layers[:4], dense("head", 1, 16))
    assert findings_of(SLUG, config_record(model=few, y=np.linspace(0, 1, 40))) == ()
