import dataclasses

import numpy as np
import pytest

from lossdoctor.record.run import LayerRecord, LossRecord, TargetPairing
from tests.records import config_record, findings_of, outcome_of, trained

SLUG = "underfitting"
FLAT = np.full(30, 0.6)


def fitted(error_rate, signal, loss=FLAT):
    record = trained(loss, error_rate=error_rate)
    return dataclasses.replace(record, probes={"signal": signal})


def test_images_and_sequences_are_held_against_what_simple_models_find_in_them():
    record = dataclasses.replace(fitted(0.4, 0.0), probes={"flat_signal": 0.8})
    assert len(findings_of(SLUG, record)) == 1


def test_fires_below_what_simple_models_reach():
    (finding,) = findings_of(SLUG, fitted(0.4, 0.8))
    assert "has learned 20% of what can be learned" in finding.message
    assert "explains 80% of the variance" in finding.message
    assert '"dense": {"units": 100}' in finding.remedies[0].code
    assert "dense_1" not in finding.remedies[0].code, "the head keeps its width"


def test_augmentation_is_asked_first():
    record = fitted(0.4, 0.8)
    flip = LayerRecord(name="flip", class_name="RandomFlip")
    model = dataclasses.replace(record.model, layers=(*record.model.layers, flip))
    (finding,) = findings_of(SLUG, dataclasses.replace(record, model=model))
    assert "without the augmentation" in finding.remedies[0].text


@pytest.mark.parametrize(
    "record",
    [
        fitted(0.1, 0.8),
        fitted(0.4, 0.3),
        fitted(0.04, 1.3),
        fitted(0.4, 0.8, np.linspace(1.0, 0.6, 30)),
    ],
    ids=["fits well", "little signal", "nearly perfect", "still falling"],
)
def test_silent_on_look_alikes(record):
    assert not findings_of(SLUG, record)


def test_what_is_only_learned_by_heart_is_no_progress():
    def falling(validation):
        record = trained(np.linspace(1.0, 0.6, 30), error_rate=0.4, val_loss=validation)
        return dataclasses.replace(record, probes={"signal": 0.8})

    assert len(findings_of(SLUG, falling(np.linspace(1.0, 1.4, 30)))) == 1
    assert not findings_of(SLUG, falling(np.linspace(1.0, 0.7, 30)))
    assert not findings_of(SLUG, falling(np.linspace(0.6, 0.9, 30))), "better than a constant"


@pytest.mark.parametrize(("signal", "fires"), [(0.44, False), (0.46, True)])
def test_boundary_of_the_shortfall(signal, fires):
    assert bool(findings_of(SLUG, fitted(0.4, signal))) is fires


def test_weights_trade_the_errors_of_one_class_for_those_of_another():
    record = fitted(0.4, 0.8)
    weighted = dataclasses.replace(record, fit=dataclasses.replace(record.fit, class_weight=True))
    assert "weights trade" in outcome_of(SLUG, weighted).reason


@pytest.mark.parametrize(("end", "fires"), [(0.5, True), (0.3, False)])
def test_a_robust_loss_that_came_down_counts_where_far_values_make_up_the_variance(end, fires):
    record = fitted(0.4, 0.8, np.full(30, end))
    pairing = (TargetPairing(output=0, rows=8, r2=0.05),)
    robust = dataclasses.replace(record.train, pairing=pairing)
    assert bool(findings_of(SLUG, dataclasses.replace(record, train=robust))) is fires


def test_copying_the_input_is_no_measure_for_an_autoencoder():
    pictures = np.random.default_rng(0).normal(size=(100, 6))
    data = config_record(x=pictures, y=pictures).train
    record = dataclasses.replace(fitted(0.4, 1.0), train=data)
    assert "copies" in outcome_of(SLUG, record).reason


def test_not_applicable_without_simple_models_or_a_finite_loss():
    assert "simple model" in outcome_of(SLUG, trained(FLAT, error_rate=0.4)).reason
    assert outcome_of(SLUG, fitted(0.4, 0.8, [1.0, np.nan])).status == "not_applicable"


XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize(
    ("x", "y", "fires"),
    [
        (XOR, [0, 1, 1, 0], True),
        (XOR * 0.37, [0, 1, 1, 0], False),
        (np.eye(4)[:, :3], [0, 1, 1, 0], True),
        (np.eye(20), np.arange(20) % 2, False),
    ],
    ids=["XOR", "inputs that are no patterns", "half of the patterns", "few of them"],
)
def test_a_truth_table_can_be_learned_to_the_last_row(x, y, fires):
    data = config_record(x=x, y=np.array(y)).train
    record = trained(FLAT, error_rate=0.25)
    pairing = record.train.pairing
    found = findings_of(
        SLUG, dataclasses.replace(record, train=dataclasses.replace(data, pairing=pairing))
    )
    assert bool(found) == fires
    assert all("no pattern of the inputs comes with two answers" in f.message for f in found)


def test_predictions_that_estimate_no_target_are_not_held_against_it():
    record = fitted(0.4, 0.8)
    distance = LossRecord(name="contrastive", custom=True, baseline=0.25, floor=1.0)
    assert outcome_of(SLUG, dataclasses.replace(record, losses=(distance,))).status == (
        "not_applicable"
    )
    logits = dataclasses.replace(distance, with_logits=True)
    assert len(findings_of(SLUG, dataclasses.replace(record, losses=(logits,)))) == 1


def regression(r2, signal):
    record = trained(FLAT + 0.39)
    pairing = (TargetPairing(output=0, rows=512, r2=r2),)
    train = dataclasses.replace(record.train, pairing=pairing)
    return dataclasses.replace(record, train=train, probes={"signal": signal})


def test_of_a_weak_signal_half_is_to_be_learned():
    (finding,) = findings_of(SLUG, regression(0.03, 0.16))
    assert "while a simple model explains 16% of the variance" in finding.message
    assert findings_of(SLUG, regression(0.1, 0.16)) == ()
    assert findings_of(SLUG, regression(0.03, 0.09)) == ()
    assert findings_of(SLUG, fitted(0.49, 0.16)) == (), "an error rate may not move"


def test_a_forest_of_flattened_sequences_is_held_against_the_error_rate():
    probes = {"flat_signal": 0.1, "flat_error": 0.2, "flat_minority": 0.6}
    torn = dataclasses.replace(fitted(0.9, 0.0), probes=probes)
    (finding,) = findings_of(SLUG, torn)
    assert "a simple model of the flattened rows avoids 67% of the errors" in finding.message
    assert "reshape" in finding.remedies[-1].text


def test_an_input_that_no_layer_reads_is_named():
    record = fitted(0.4, 0.8)
    other = LayerRecord(name="other", class_name="InputLayer", output_shape=(None, 3))
    layers = (*record.model.layers, other)
    model = dataclasses.replace(record.model, layers=layers, inputs=(0, len(layers) - 1))
    (finding,) = findings_of(SLUG, dataclasses.replace(record, model=model))
    assert finding.message.endswith("No layer reads 'other'.")
    assert "Connect the input" in finding.remedies[0].text
