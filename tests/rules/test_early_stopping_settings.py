import dataclasses

import numpy as np
import pytest

from lossdoctor.record.run import CallbackRecord, DataRecord, FitRecord, TargetPairing
from tests.records import findings_of, outcome_of, trained

SLUG = "early_stopping_settings"


def stopped(loss, validation, *, planned=100, **config):
    record = trained(loss, val_loss=validation)
    callback = CallbackRecord(class_name="EarlyStopping", config={"monitor": "val_loss", **config})
    fit = FitRecord(epochs=planned, steps_per_epoch=16, callbacks=(callback,))
    return dataclasses.replace(record, fit=fit)


IMPATIENT = stopped([1.0, 0.98, 0.97], [1.0, 0.99, 1.0], patience=0)


def test_fires_where_noise_ended_the_run():
    (finding,) = findings_of(SLUG, IMPATIENT)
    assert "ended at epoch 3 of 100" in finding.message
    assert "patience=10" in finding.remedies[0].code


@pytest.mark.parametrize(("signal", "fires"), [(0.1, False), (0.5, True)])
def test_silent_where_simple_models_find_no_more_than_the_run(signal, fires):
    pairing = (TargetPairing(output=0, rows=100, r2=0.13),)
    train = DataRecord(rows=500, pairing=pairing)
    run = dataclasses.replace(IMPATIENT, probes={"signal": signal}, train=train)
    assert bool(findings_of(SLUG, run)) is fires


def test_fires_where_the_monitor_is_never_logged():
    record = stopped(np.linspace(1, 0.1, 20), np.linspace(1, 0.1, 20), monitor="val_acc")
    (finding,) = findings_of(SLUG, record)
    assert "monitors 'val_acc', which no epoch logs" in finding.message
    assert 'monitor="val_loss"' in finding.remedies[0].code


def test_fires_where_the_best_weights_were_given_away():
    validation = np.r_[np.linspace(1.0, 0.3, 10), np.linspace(0.3, 0.6, 10)]
    record = stopped(np.linspace(1.0, 0.1, 20), validation, patience=10)
    (finding,) = findings_of(SLUG, record)
    assert "instead of those of epoch 10" in finding.message
    restoring = stopped(
        np.linspace(1.0, 0.1, 20), validation, patience=10, restore_best_weights=True
    )
    assert not findings_of(SLUG, restoring)


def accuracy(mode, **config):
    record = stopped([1.0, 0.9, 0.8], [1.0, 0.9, 0.8], monitor="val_accuracy", mode=mode, **config)
    logs = {**record.history.logs, "val_accuracy": np.array([0.5, 0.6, 0.7])}
    return dataclasses.replace(record, history=dataclasses.replace(record.history, logs=logs))


def test_fires_where_it_waits_for_the_wrong_direction():
    (finding,) = findings_of(SLUG, accuracy("min", patience=2))
    assert "waits for 'val_accuracy' to fall" in finding.message
    assert "mode" not in finding.remedies[0].code
    assert "mode" not in findings_of(SLUG, accuracy("auto", patience=2))[0].message


@pytest.mark.parametrize(
    "record",
    [
        stopped(np.linspace(1.0, 0.1, 60), np.full(60, 0.2), patience=3),
        stopped(np.linspace(1.0, 0.1, 10), np.full(10, 0.2), patience=3),
        stopped(np.full(30, 0.9), np.full(30, 0.9), patience=20),
        stopped(np.linspace(1, 0.1, 20), np.linspace(1, 0.1, 20), planned=20, patience=2),
    ],
    ids=["went far", "finished early", "was patient", "was not stopped"],
)
def test_silent_on_sound_settings(record):
    assert not findings_of(SLUG, record)


@pytest.mark.parametrize(("patience", "fires"), [(9, True), (10, False)])
def test_boundary_of_the_patience(patience, fires):
    record = stopped(np.full(20, 0.9), np.full(20, 0.9), patience=patience)
    assert bool(findings_of(SLUG, record)) is fires


@pytest.mark.parametrize(("epochs", "fires"), [(49, True), (51, False)])
def test_boundary_of_the_share_completed(epochs, fires):
    record = stopped(np.full(epochs, 0.9), np.full(epochs, 0.9), patience=5)
    assert bool(findings_of(SLUG, record)) is fires


def test_not_applicable_without_it():
    assert "no EarlyStopping" in outcome_of(SLUG, trained([1.0, 0.5])).reason
    unknown = dataclasses.replace(trained([1.0, 0.5]), fit=FitRecord(epochs=2))
    assert "callbacks" in outcome_of(SLUG, unknown).reason
