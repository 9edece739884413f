import dataclasses

import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.gradient_flow import GradientFlow
from lossdoctor.record.run import RunRecord
from tests.records import mlp, per_layer, run_record, steps, trained, variables

MODEL = mlp(hidden=((25, "sigmoid"), (25, "sigmoid")))
SIZES = {"dense": (500, 25), "dense_1": (625, 25), "dense_2": (25, 1)}


def record(**matrices) -> RunRecord:
    return run_record(
        trained([1.0] * 4, model=MODEL), variables=variables(MODEL, count=64, **matrices)
    )


def test_scale_is_per_entry_and_that_of_the_strongest_variable():
    flow = GradientFlow.from_record(record(gradient_norm=per_layer(MODEL, [1.0, 2.0, 4.0])))
    assert flow.layers == ("dense", "dense_1", "dense_2")
    # The biases have fewer entries than the kernels: the same norm is more per entry.
    np.testing.assert_allclose(flow.scale[0], [1 / 5, 2 / 5, 4.0])
    np.testing.assert_allclose(flow.typical_ratio, [0.05, 0.1, 1.0])
    assert flow.attenuation == pytest.approx(20)


def test_entries_that_are_exactly_zero_do_not_dilute():
    sparse = record(
        gradient_norm=[1.0, 0.0, 1.0, 0.0, 1.0, 0.0],
        gradient_zero_fraction=[0.99, 1.0, 0.0, 1.0, 0.0, 1.0],
    )
    np.testing.assert_allclose(
        GradientFlow.from_record(sparse).scale[0], [1 / np.sqrt(5), 1 / 25, 1 / 5]
    )


def test_layers_stand_in_order_of_depth():
    backwards = dataclasses.replace(
        variables(MODEL), depth=tuple(-d for d in variables(MODEL).depth)
    )
    flow = GradientFlow.from_record(run_record(record(), variables=backwards))
    assert flow.layers == ("dense_2", "dense_1", "dense")


def test_steps_after_the_first_non_finite_one_do_not_count():
    loss = np.ones(64)
    loss[40:] = np.nan
    flow = GradientFlow.from_record(run_record(record(), steps=steps(loss)))
    assert len(flow.step) == 40


def test_starved_layers_reach_from_the_input_to_the_first_fed_one():
    flow = GradientFlow.from_record(record(gradient_norm=per_layer(MODEL, [1e-6, 1e-5, 1.0])))
    assert flow.starved(1e-3) == ("dense", "dense_1")
    assert flow.starved(1e-9) == ()
    assert flow.share_below(1e-3) == 1.0


def test_a_layer_without_any_gradient_is_starved_only_before_one_that_nearly_is():
    faint = GradientFlow.from_record(record(gradient_norm=per_layer(MODEL, [0.0, 1e-6, 1.0])))
    assert faint.starved(1e-3) == ("dense", "dense_1")
    cut = GradientFlow.from_record(record(gradient_norm=per_layer(MODEL, [0.0, 0.5, 1.0])))
    assert cut.starved(1e-3) == ()


def test_disconnected_variables_do_not_count():
    series = variables(MODEL, gradient_norm=per_layer(MODEL, [np.nan, 1.0, 1.0]))
    series = dataclasses.replace(series, connected=(False, False, True, True, True, True))
    flow = GradientFlow.from_record(run_record(record(), variables=series))
    assert flow.layers == ("dense_1", "dense_2")


def test_the_cell_of_a_recurrent_layer_belongs_to_the_layer():
    series = variables(MODEL)
    series = dataclasses.replace(series, layers=("lstm_cell", *series.layers[1:]))
    flow = GradientFlow.from_record(run_record(record(), variables=series))
    assert flow.layers[0] == "dense"


def test_not_applicable_to_one_layer_nor_without_finite_steps():
    single = mlp(hidden=())
    with pytest.raises(NotApplicable, match="single trainable layer"):
        GradientFlow.from_record(trained([1.0] * 4, model=single))
    with pytest.raises(NotApplicable, match="finite"):
        GradientFlow.from_record(run_record(record(), steps=steps([np.nan] * 64)))
    with pytest.raises(NotRecorded, match=r"LossDoctor\(\)"):
        GradientFlow.from_record(RunRecord(source="history"))
