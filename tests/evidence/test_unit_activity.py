import dataclasses

import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.unit_activity import UnitActivity
from lossdoctor.record.run import RunRecord
from tests.records import (
    chain,
    dense,
    layer,
    mlp,
    run_record,
    steps,
    trained,
    unit_series,
    variables,
    with_weights,
)

MODEL = mlp(hidden=((20, "relu"), (20, "relu")))


def activity(dead, *, model=MODEL, **fields) -> UnitActivity:
    record = trained([1.0] * 10, model=model)
    return UnitActivity.from_record(run_record(record, units=unit_series(dead), **fields))


def test_dead_means_dead_in_each_of_the_last_epochs():
    flickering = [1.0] * 9 + [0.2]
    found = activity({"dense": flickering, "dense_1": 0.3, "dense_2": 0.0})
    assert [each.dead for each in found.layers] == [0.2, 0.3, 0.0]
    assert found.above(0.25) == (found.layers[1],)


def test_onset_is_where_half_have_died_for_good():
    died = [0.0, 1.0, 0.1, 0.6, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = activity({"dense": died, "dense_1": 0.0, "dense_2": 0.0})
    assert found.layers[0].onset.epoch == 3
    assert found.layers[0].dead_first == 0.0
    assert found.layers[1].onset is None


def test_the_layer_nearest_to_the_head_blocks_those_before_it():
    found = activity({"dense": 1.0, "dense_1": 1.0, "dense_2": 0.0})
    assert found.blocked_at.layer == "dense_1"
    assert found.silent_head is None
    assert activity({"dense": 1.0, "dense_1": 0.9, "dense_2": 0.0}).blocked_at.layer == "dense"


def test_a_silent_head_is_told_apart():
    found = activity({"dense": 1.0, "dense_1": 1.0, "dense_2": 1.0})
    assert found.silent_head.layer == "dense_2"
    assert [each.layer for each in found.hidden] == ["dense", "dense_1"]


def test_frozen_and_disconnected_layers_are_left_out():
    frozen = chain(dense("a", 20, 20, trainable=False), dense("b", 20, 20), dense("c", 1, 20))
    record = run_record(trained([1.0] * 10), model=frozen, variables=variables(frozen))
    watched = unit_series({"a": 1.0, "b": 0.0, "c": 0.0})
    found = UnitActivity.from_record(run_record(record, units=watched))
    assert [each.layer for each in found.layers] == ["b", "c"]
    series = dataclasses.replace(variables(MODEL), connected=(False,) * 2 + (True,) * 4)
    found = activity({"dense": 1.0, "dense_1": 0.0, "dense_2": 0.0}, variables=series)
    assert [each.layer for each in found.layers] == ["dense_1", "dense_2"]


def test_the_activation_may_stand_behind_normalization_in_a_layer_of_its_own():
    model = chain(
        dense("a", 20, 20),
        layer("norm", "BatchNormalization"),
        layer("act", "ReLU", activation="relu"),
        dense("b", 1, 20),
    )
    assert activity({"a": 0.0, "b": 0.0}, model=model).layers[0].activation == "relu"


def test_what_the_weights_began_with():
    model = with_weights(with_weights(MODEL, "bias", mean=-10.0), "kernel", abs_max=0.0, std=0.0)
    first = activity({"dense": 1.0, "dense_1": 1.0, "dense_2": 0.0}, model=model).layers[0]
    assert (first.bias_mean, first.zero_kernel) == (-10.0, True)


def test_epochs_after_the_first_non_finite_number_do_not_count():
    loss = np.ones(160)
    loss[100:] = np.nan
    died = [0.0] * 6 + [1.0] * 4
    found = activity({"dense": died, "dense_1": 0.0, "dense_2": 0.0}, steps=steps(loss))
    assert found.layers[0].dead == 0.0
    loss[:] = np.nan
    with pytest.raises(NotApplicable, match="non-finite"):
        activity({"dense": died, "dense_1": 0.0, "dense_2": 0.0}, steps=steps(loss))


def test_not_recorded():
    with pytest.raises(NotRecorded):
        UnitActivity.from_record(RunRecord(source="history"))
