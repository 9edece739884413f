import dataclasses

import numpy as np
import pytest

from lossdoctor.record.run import LossRecord, NonFiniteOrigin
from tests.records import (
    config_record,
    findings_of,
    history_record,
    mlp,
    run_record,
    steps,
    trained,
)

SLUG = "non_finite_loss"
NAN = np.nan


def with_origin(source, *, ratio=1e-3, **fields):
    origin = NonFiniteOrigin(epoch=1, step=16, source=source, **fields)
    return run_record(trained([1.0, NAN, NAN], ratio=ratio), non_finite=origin)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("inputs", "the inputs of that batch"),
        ("targets", "the targets of that batch"),
        ("sample_weight", "the sample weights"),
        ("weights", "weights already are"),
        ("forward", "become NaN or infinite in the forward pass"),
        ("loss", "the predictions are finite"),
        ("gradients", "its gradient is not"),
    ],
)
def test_names_the_first_thing_that_was_not_finite(source, words):
    (finding,) = findings_of(SLUG, with_origin(source))
    assert words in finding.message
    assert "epoch 2, step 16," in finding.message
    assert finding.onset.step == 16
    assert finding.remedies


def test_names_the_layer():
    origin = with_origin("forward", layer="logarithm", detail="run again 3 steps later")
    (finding,) = findings_of(SLUG, origin)
    assert "first in layer 'logarithm' (run again 3 steps later)." in finding.message
    assert finding.layers == ("logarithm",)
    assert "'logarithm' is the first" in finding.remedies[0].text


def test_first_remedy_follows_the_source():
    assert "X[keep]" in findings_of(SLUG, with_origin("inputs"))[0].remedies[0].code
    grown = findings_of(SLUG, with_origin("forward", ratio=2.0))[0]
    assert "learning_rate" in grown.remedies[0].code
    calm = findings_of(SLUG, with_origin("loss"))[0]
    assert "enable_check_numerics" in calm.remedies[0].code
    custom = with_origin("loss")
    custom = dataclasses.replace(custom, losses=(LossRecord(name="mine", custom=True),))
    remedy = findings_of(SLUG, custom)[0].remedies[0]
    assert "above zero" in remedy.text
    assert 'loss="mean_squared_error"' in remedy.code


def test_history_alone_asks_for_a_recorded_run():
    (finding,) = findings_of(SLUG, history_record(loss=[1.0, 0.8, NAN, NAN]))
    assert "from epoch 3 on" in finding.message
    assert "LossDoctor()" in finding.remedies[0].code
    climbing = findings_of(SLUG, history_record(loss=[1.0, 30.0, 900.0, np.inf]))[0]
    assert "learning_rate" in climbing.remedies[0].code


def test_validation_loss_alone():
    record = history_record(loss=[1.0, 0.9, 0.8], val_loss=[NAN, NAN, NAN])
    (finding,) = findings_of(SLUG, record)
    assert "validation loss is not finite from epoch 1" in finding.message


def test_silent_on_finite_losses_and_on_epochs_without_validation():
    assert not findings_of(SLUG, trained([1.0, 0.5]))
    sparse = [NAN, 0.9, NAN, 0.8, NAN, 0.7, NAN]
    assert not findings_of(SLUG, history_record(loss=np.linspace(1, 0, 7), val_loss=sparse))


def test_a_step_skipped_by_loss_scaling_is_no_loss():
    record = trained([1.0, 0.9])
    loss, skipped = record.steps.loss.copy(), record.steps.skipped.copy()
    loss[3], skipped[3] = np.inf, True
    steps = dataclasses.replace(record.steps, loss=loss, skipped=skipped)
    assert not findings_of(SLUG, dataclasses.replace(record, steps=steps))


def test_weights_an_earlier_run_left_nan_are_named_before_and_in_a_run():
    model = mlp()
    spoiled = tuple(
        dataclasses.replace(
            layer,
            weights=tuple(dataclasses.replace(w, mean=float("nan")) for w in layer.weights),
        )
        for layer in model.layers
    )
    record = config_record(model=dataclasses.replace(model, layers=spoiled), y=[1.0, 2.0])
    for seen in (record, run_record(record, steps=steps([float("nan")] * 4))):
        (finding,) = findings_of("non_finite_loss", seen)
        assert "before the first step" in finding.message
        assert "clone_model" in finding.remedies[0].code
