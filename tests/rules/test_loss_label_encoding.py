import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

IDS = np.arange(90) % 3
ONE_HOT = np.eye(3)[IDS]
NUMBERS = np.random.default_rng(0).uniform(size=(90, 8))


def of(loss, units, activation, y):
    record = config_record(model=mlp(units=units, activation=activation), loss=loss, y=y)
    return findings_of("loss_label_encoding", record)


def test_fires_on_one_hot_rows_under_the_sparse_loss_and_changes_the_loss():
    (finding,) = of("sparse_categorical_crossentropy", 3, "softmax", ONE_HOT)
    assert finding.severity is Severity.ERROR
    assert "expects one class id per example and gets one-hot rows of 3" in finding.message
    assert "Keras raises at fit" in finding.message
    assert 'loss="categorical_crossentropy"' in finding.remedies[0].code


@pytest.mark.parametrize("y", [IDS, IDS[:, None]])
def test_fires_on_ids_under_the_categorical_loss(y):
    (finding,) = of("categorical_crossentropy", 3, "softmax", y)
    assert "gets class ids 0 to 2: Keras raises at fit" in finding.message
    assert 'loss="sparse_categorical_crossentropy"' in finding.remedies[0].code
    assert "clone_model" not in finding.remedies[0].code


def test_says_where_ids_are_broadcast_instead():
    for loss in ("kl_divergence", "categorical_hinge"):
        (finding,) = of(loss, 3, "softmax", IDS[:, None])
        assert "broadcast over all units" in finding.message


def test_fires_on_several_classes_under_the_binary_loss():
    (finding,) = of("binary_crossentropy", 1, "sigmoid", IDS + 1)
    assert "no lower bound" in finding.message
    code = finding.remedies[0].code
    assert "y = np.asarray(y) - 1" in code
    assert '"units": 3, "activation": "softmax"' in code


def test_fires_on_divergence_of_rows_that_are_no_distributions():
    (finding,) = of("kl_divergence", 8, "softmax", NUMBERS)
    assert "rows that sum to 1" in finding.message
    assert "y = np.asarray(y) / np.sum(y, axis=-1, keepdims=True)" in finding.remedies[0].code


def test_maps_gaps_between_ids():
    (finding,) = of("categorical_crossentropy", 3, "softmax", np.array([3, 7, 20] * 30))
    assert "np.searchsorted(classes, y)" in finding.remedies[0].code


def test_silent_on_rows_that_are_distributions():
    soft = 0.9 * ONE_HOT + 0.1 / 3
    for loss in ("categorical_crossentropy", "kl_divergence"):
        assert not of(loss, 3, "softmax", ONE_HOT)
        assert not of(loss, 3, "softmax", soft)
    smoothed = LossRecord(name="categorical_crossentropy", from_logits=True, label_smoothing=0.1)
    record = config_record(model=mlp(units=3), loss=smoothed, y=ONE_HOT)
    assert not findings_of("loss_label_encoding", record)


def test_silent_on_sequences_of_ids():
    model = mlp(units=5, activation="softmax")
    output = model.outputs[0].__class__(
        name="out", shape=(None, 7, 5), activation="softmax", layer=model.outputs[0].layer
    )
    model = model.__class__(**{**model.__dict__, "outputs": (output,)})
    y = np.random.default_rng(0).integers(0, 5, size=(40, 7))
    for labels in (y, y[..., None]):
        record = config_record(model=model, loss="sparse_categorical_crossentropy", y=labels)
        assert not findings_of("loss_label_encoding", record)


def test_multi_output_models_get_words_without_code():
    model = mlp(units=3, activation="softmax")
    model = model.__class__(**{**model.__dict__, "outputs": model.outputs * 2})
    record = config_record(model=model, loss="categorical_crossentropy", y=IDS)
    (finding,) = findings_of("loss_label_encoding", record)
    assert not finding.remedies[0].code


def test_not_applicable_without_labels_or_on_strings():
    assert outcome_of("loss_label_encoding", RunRecord(source="history")).status == "not_applicable"
    strings = config_record(loss="categorical_crossentropy", y=np.array(["cat", "dog"]))
    assert outcome_of("loss_label_encoding", strings).status == "not_applicable"
