import dataclasses

import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord
from tests.records import config_record, findings_of, mlp, outcome_of

SLUG = "missing_targets"
X = np.ones((40, 20))


def test_fit_without_y():
    (finding,) = findings_of(SLUG, config_record(x=X))
    assert finding.severity is Severity.ERROR
    assert "no y" in finding.message
    assert "mean_squared_error" in finding.message
    assert finding.remedies[0].code == ""


def test_an_autoencoder_without_y_is_given_its_inputs():
    (finding,) = findings_of(SLUG, config_record(model=mlp(units=20), x=X))
    assert finding.remedies[0].code == "y = X\ny_val = X_val"


def test_one_array_for_two_outputs():
    model = mlp()
    other = dataclasses.replace(model.outputs[0], name="side")
    model = dataclasses.replace(model, outputs=(*model.outputs, other))
    base = config_record(model=model, x=X, y=np.arange(40.0))
    base = dataclasses.replace(base, losses=(LossRecord(name="huber"),) * 2)
    (finding,) = findings_of(SLUG, base)
    assert "2 outputs (dense_1, side)" in finding.message
    assert '"side": y_2' in finding.remedies[0].text


def test_two_arrays_for_one_output():
    base = config_record(x=X, y=np.arange(40.0))
    train = dataclasses.replace(base.train, targets=base.train.targets * 2)
    (finding,) = findings_of(SLUG, dataclasses.replace(base, train=train))
    assert "holds 2 arrays" in finding.message


def test_silent_with_targets_and_not_applicable_to_models_of_their_own_loss():
    assert not findings_of(SLUG, config_record(x=X, y=np.arange(40.0)))
    own = dataclasses.replace(mlp(), custom_train_step=True)
    assert outcome_of(SLUG, config_record(model=own, x=X)).status == "not_applicable"
    added = dataclasses.replace(config_record(x=X), losses=())
    assert outcome_of(SLUG, added).status == "not_applicable"
