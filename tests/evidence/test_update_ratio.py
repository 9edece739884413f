import dataclasses
import math

import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.update_ratio import UpdateRatio
from lossdoctor.record.run import RunRecord
from tests.records import mlp, per_layer, run_record, steps, trained, variables, with_weights

MODEL = mlp()
GLOROT = math.sqrt(20 * 25 * 2 / 45)


def ratio(**matrices) -> UpdateRatio:
    record = trained([1.0] * 4)
    return UpdateRatio.from_record(run_record(record, variables=variables(MODEL, **matrices)))


def test_norms_of_a_layer_are_those_of_all_its_variables_together():
    found = ratio(
        update_norm=[3e-2, 4e-2, 0, 0], weight_norm=[30.0, 40.0, 1, 1], gradient_norm=[0, 2, 0, 0]
    )
    assert found.typical("dense") == pytest.approx(1e-3)
    np.testing.assert_allclose(found.gradient[0], [2, 0])
    assert found.largest == pytest.approx(1e-3)


def test_small_weights_are_measured_against_a_glorot_draw():
    found = ratio(update_norm=[0.1, 0, 0, 0], weight_norm=[1e-9, 0, 1, 1])
    assert found.typical("dense") == pytest.approx(0.1 / GLOROT)


def test_unmoved_layers_are_those_that_no_step_moved():
    moved_once = np.zeros((64, 4))
    moved_once[10, 0] = 1e-9
    moved_once[:, 2:] = 1e-3
    assert ratio(update_norm=moved_once).unmoved == ()
    still = ratio(update_norm=per_layer(MODEL, [0.0, 1e-3]), gradient_norm=[0, 0, 1, 1])
    assert still.unmoved == ("dense",)
    assert still.without_gradient(still.unmoved) == ("dense",)
    assert still.share_of_parameters(("dense",)) == pytest.approx(525 / 551)


def test_a_single_variable_at_rest_is_no_unmoved_layer():
    assert ratio(update_norm=[1e-3, 0.0, 1e-3, 1e-3]).unmoved == ()


def test_disconnected_layers_stand_apart():
    series = variables(MODEL, update_norm=per_layer(MODEL, [0.0, 1e-3]))
    series = dataclasses.replace(series, connected=(False, False, True, True))
    found = UpdateRatio.from_record(run_record(trained([1.0] * 4), variables=series))
    assert found.disconnected == ("dense",)
    assert found.unmoved == ()


def test_kernels_that_began_at_zero():
    model = with_weights(MODEL, "kernel", std=0.0, abs_max=0.0)
    found = UpdateRatio.from_record(trained([1.0] * 4, model=model))
    assert found.zero_kernels == ("dense", "dense_1")


def test_a_learning_rate_of_zero_is_noted():
    record = trained([1.0] * 4, learning_rate=0.0)
    assert UpdateRatio.from_record(record).rate_is_zero
    assert not ratio().rate_is_zero


def test_not_recorded_or_too_short():
    with pytest.raises(NotRecorded):
        UpdateRatio.from_record(RunRecord(source="history"))
    with pytest.raises(NotApplicable, match="finite"):
        UpdateRatio.from_record(run_record(trained([1.0] * 4), steps=steps([1, np.nan, np.nan])))


def test_updates_that_were_not_measured_are_not_updates_of_zero():
    with pytest.raises(NotRecorded):
        ratio(update_norm=np.full((64, 4), np.nan))
