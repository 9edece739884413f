import dataclasses
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from lossdoctor.evidence.step_size import StepSize
from lossdoctor.finding import Onset, Severity
from lossdoctor.record.run import ActivationRecord, NonFiniteOrigin, RunRecord, TargetPairing
from lossdoctor.report import figure_data, plots
from tests.records import (
    config_record,
    history,
    history_record,
    mlp,
    run_record,
    steps,
    unit_series,
    variables,
)
from tests.reports import caused, finding, full_record, report


def pictures(made):
    return {panel.picture.name: panel for panel in plots.panels(made)}


def test_loss_curves_count_epochs_from_1_and_carry_onset_and_baseline():
    onset = finding("x", onset=Onset(epoch=4))
    exact = finding("y", onset=Onset(epoch=4, step=71))
    data = figure_data.loss_curves(full_record(), (onset, onset, exact))
    assert data.x_label == "epoch"
    assert data.x[0] == 1
    assert list(data.curves) == ["loss", "val_loss"]
    assert data.references == ((1.0986, "best constant prediction (chance, ln 3)"),)
    assert data.onsets == ((4.5, "Y"), (5.0, "X"))
    assert data.batch_x[-1] == pytest.approx(20)
    assert data.learning_rate.tolist() == [0.01] * 20
    assert data.non_finite is None


def test_rare_classes_part_the_baseline_from_chance():
    record = full_record()
    record = dataclasses.replace(
        record, losses=(dataclasses.replace(record.losses[0], baseline=0.4),)
    )
    found = figure_data.loss_curves(record).references
    assert [label for _, label in found] == ["best constant prediction", "chance, ln 3"]
    assert found[1].value == pytest.approx(math.log(3))


def test_onsets_at_one_place_share_a_line_and_only_the_earliest_are_kept():
    together = [finding(name, onset=Onset(epoch=1)) for name in ("a", "b")]
    later = [finding("c", onset=Onset(epoch=e)) for e in (9, 7, 5)]
    data = figure_data.loss_curves(full_record(), (*later, *together))
    assert data.onsets == ((2.0, "A and 1 more"), (6.0, "C"), (8.0, "C"))


def test_loss_curves_know_where_the_loss_is_no_number_and_when_to_use_decades():
    data = figure_data.loss_curves(history_record(loss=[1.0, 100.0, np.nan, np.nan]))
    assert data.non_finite == 3
    assert data.end == 4
    assert figure_data.loss_curves(history_record(loss=[1.0] + [np.nan] * 99)).end < 5
    assert data.logarithmic
    assert not figure_data.loss_curves(history_record(loss=[1.0, 0.5])).logarithmic
    assert not figure_data.loss_curves(history_record(loss=[-1.0, 500.0])).logarithmic


def test_a_run_that_dies_in_its_first_epochs_is_shown_by_step():
    record = full_record(
        history=history(loss=[np.nan] * 20),
        steps=steps([1.0, 5.0, 90.0] + [np.nan] * 317),
        non_finite=NonFiniteOrigin(epoch=0, step=3, source="forward"),
    )
    data = figure_data.loss_curves(record, (finding("x", onset=Onset(epoch=0, step=1)),))
    assert data.x_label == "step"
    assert data.batch_x[:3].tolist() == [0, 1, 2]
    assert data.onsets == ((1.0, "X"),)
    assert data.non_finite == 3
    assert data.end < 6


def test_penalties_are_drawn_beside_the_loss_they_are_part_of():
    logs = dataclasses.replace(history(loss=[1.0, 0.9]), penalty=np.array([0.5, 0.4]))
    data = figure_data.loss_curves(run_record(config_record(), history=logs))
    assert data.curves["of which penalties"].tolist() == [0.5, 0.4]


def test_the_rate_of_a_schedule_is_not_drawn_as_constant():
    record = config_record()
    scheduled = dataclasses.replace(record.optimizer, schedule="CosineDecay")
    record = run_record(record, history=history(loss=[1.0, 0.9]))
    assert len(figure_data.loss_curves(record).learning_rate) == 2
    record = dataclasses.replace(record, optimizer=scheduled)
    assert len(figure_data.loss_curves(record).learning_rate) == 0


def test_an_accuracy_stands_against_chance_and_against_the_decisions_really_made():
    record = full_record(history=history(loss=[1, 0.5], accuracy=[0.1, 0.2], val_accuracy=[0, 0]))
    pairing = TargetPairing(output=0, rows=90, error_rate=0.25, chance_error_rate=0.5)
    record = dataclasses.replace(
        record, train=dataclasses.replace(record.train, pairing=(pairing,))
    )
    data = figure_data.metric_curves(record)
    assert list(data.curves) == ["accuracy", "val_accuracy"]
    assert data.references == (
        (0.5, "always the most frequent class"),
        (0.75, "examples really decided right"),
    )
    honest = history(loss=[1, 0.5], accuracy=[0.6, 0.75])
    data = figure_data.metric_curves(dataclasses.replace(record, history=honest))
    assert len(data.references) == 1


def test_update_pictures_show_the_numbers_the_findings_rest_on():
    record = full_record()
    judged = StepSize.from_record(record)
    heat, band = figure_data.update_heat_map(record), figure_data.update_band(record)
    assert heat.layers == ("dense", "dense_1", "dense_2")
    assert heat.values == pytest.approx(judged.ratio.T)
    assert band.band[2] == pytest.approx(judged.largest)
    assert band.references[0].value == 1e-3


def test_updates_below_what_float32_can_tell_apart_count_as_the_least():
    record = full_record(variables=variables(mlp(hidden=((8, "relu"),)), update_norm=0.0))
    assert np.all(figure_data.update_heat_map(record).values == figure_data.RESOLUTION)


def test_gradients_per_layer_are_those_the_rule_judges():
    series = variables(mlp(inputs=4, hidden=((9, "relu"),)), count=3, gradient_norm=6.0)
    record = full_record(variables=series, steps=steps(np.ones(3)))
    data = figure_data.gradient_heat_map(record)
    assert data.unit == "root mean square gradient"
    assert data.values[0] == pytest.approx(6 / math.sqrt(9))


def test_heat_maps_are_thinned_to_a_bounded_width_and_end_with_the_numbers():
    count = 5000
    series = variables(mlp(), count=count)
    data = figure_data.gradient_heat_map(full_record(variables=series, steps=steps([1.0] * count)))
    assert data.values.shape == (2, figure_data.MAX_COLUMNS)
    assert (data.step[0], data.step[-1]) == (0, count - 1)
    dying = steps([1.0] * 10 + [np.nan] * (count - 10))
    assert figure_data.gradient_heat_map(full_record(variables=series, steps=dying)).step[-1] == 9


def test_kernel_norms_are_told_against_their_initial_size():
    data = figure_data.kernel_norms(full_record())
    assert set(data.curves) == {"dense/kernel", "dense_1/kernel", "dense_2/kernel"}
    assert data.references[0] == (1.0, "before training")


def test_feature_scales_keep_the_most_extreme():
    x = np.random.default_rng(0).normal(size=(50, 100)) * np.logspace(0, 3, 100)
    data = figure_data.feature_scales(config_record(x=x))
    assert len(data.names) == figure_data.MAX_ROWS
    assert data.left_out == 100 - figure_data.MAX_ROWS
    assert data.names[0] in {"feature 97", "feature 98", "feature 99"}
    low, high = data.inner
    assert high[0] - low[0] > 200 > high[-1] - low[-1]
    assert data.expected[:2] == (-1, 1)


@pytest.mark.parametrize("y", [[0, 0, 0, 1], [[1, 0], [1, 0], [1, 0], [0, 1]]])
def test_class_shares_of_ids_and_one_hot_rows(y):
    data = figure_data.class_shares(config_record(y=np.array(y)))
    assert data.names == ("class 0", "class 1")
    assert {label: shares.tolist() for label, shares in data.series.items()} == {
        "training": [0.75, 0.25]
    }
    assert data.reference.value == 0.5


def test_a_class_only_validation_knows_is_shown_as_missing():
    x = np.zeros((4, 20))
    data = figure_data.class_shares(
        config_record(y=np.array([0, 1, 0, 1]), validation=(x, [2] * 4))
    )
    assert data.names == ("class 0", "class 1", "class 2")
    assert data.series["training"].tolist() == [0.5, 0.5, 0]
    assert data.series["validation"].tolist() == [0, 0, 1]


def test_continuous_targets_have_no_classes():
    assert figure_data.class_shares(config_record(y=np.linspace(0, 1, 50))) is None


def test_decided_classes_show_a_model_that_names_one():
    record = config_record(
        model=mlp(units=3, activation="softmax"),
        loss="sparse_categorical_crossentropy",
        y=np.arange(9) % 3,
        predictions=np.tile([0.2, 0.5, 0.3], (9, 1)),
    )
    data = figure_data.decided_classes(record)
    assert data.series["targets"] == pytest.approx(1 / 3)
    assert data.series["predictions"].tolist() == [0, 1, 0]


def test_answers_stand_beside_the_targets_and_the_heads_range():
    record = config_record(
        model=mlp(activation="sigmoid"),
        y=np.linspace(-5, 5, 101),
        predictions=np.full((101, 1), 0.5),
    )
    data = figure_data.answers(record)
    assert data.names == ("targets", "predictions")
    assert data.outer[0][0] == pytest.approx(-5)
    assert data.inner[1][1] == pytest.approx(0.5)
    assert data.expected == (0.0, 1.0, "what sigmoid can answer")


def test_class_ids_and_probabilities_share_no_axis():
    record = config_record(
        model=mlp(units=3, activation="softmax"),
        loss="sparse_categorical_crossentropy",
        y=np.arange(9) % 3,
    )
    assert figure_data.answers(record) is None


def test_unit_shares_join_gradients_and_activations():
    model = mlp(hidden=((8, "tanh"),))
    saturated = ActivationRecord(
        layer="dense", activation="tanh", rows=9, mean=0.0, std=1.0,
        saturated_fraction=0.9,
    )  # fmt: skip
    record = run_record(
        config_record(model=model),
        units=unit_series({"dense": 0.5, "dense_1": 0.0}),
        activations=(saturated,),
    )
    data = figure_data.unit_shares(record)
    assert data.names == ("dense", "dense_1")
    assert data.series["dead units"].tolist() == [0.5, 0.0]
    assert data.series["saturated outputs"][0] == 0.9
    assert np.isnan(data.series["saturated outputs"][1])


def test_units_that_all_learn_need_no_picture():
    record = run_record(config_record(), units=unit_series({"dense": 0.0, "dense_1": 0.0}))
    assert figure_data.unit_shares(record) is None


def test_shift_is_told_in_units_of_training():
    x = np.random.default_rng(0).normal(size=(500, 3))
    data = figure_data.shift(
        config_record(x=x, y=x[:, 0], validation=(x + np.array([0, 5, 0]), x[:, 0]))
    )
    assert data.names[0] == "feature 1"
    assert data.center[0] == pytest.approx(5, rel=0.1)
    assert data.inner[1] - data.inner[0] == pytest.approx(2)
    assert figure_data.shift(config_record(x=x, y=x[:, 0], validation=(x, x[:, 0]))) is None


@pytest.mark.parametrize("source", ["run", "config", "history"])
def test_an_empty_record_has_no_pictures(source):
    made = report(record=RunRecord(source=source))
    assert pictures(made) == {}
    assert made.plot().axes == []


def test_every_picture_is_well_formed_svg_in_the_colors_of_the_page():
    drawn = pictures(report(caused(), record=full_record(layer="a $x$ <b> & _")))
    assert {"loss", "features", "gradients", "updates", "update_band", "classes"} <= set(drawn)
    for panel in drawn.values():
        svg = plots.svg(panel)
        ET.fromstring(svg)
        assert "currentColor" in svg
        assert "#010203" not in svg
        assert "<b>" not in svg
    assert "a $x$ &lt;b&gt;" in plots.svg(drawn["gradients"])


def test_the_same_record_is_drawn_the_same():
    first, second = (plots.svg(pictures(report(record=full_record()))["loss"]) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "loss", [[np.nan], [np.inf, np.nan], [0.0, 0.0], [-1.0, 5.0], [1e30, 1e-30]]
)
def test_odd_losses_can_be_drawn(loss, tmp_path):
    figure = report(record=history_record(loss=loss)).plot()
    figure.savefig(tmp_path / "x.png")


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
def test_odd_gradients_and_updates_can_be_drawn(value):
    model = mlp(inputs=4, hidden=((8, "relu"), (8, "relu")), units=3)
    odd = variables(model, gradient_norm=value, update_norm=value, weight_norm=value)
    for panel in plots.panels(report(record=full_record(variables=odd))):
        ET.fromstring(plots.svg(panel))


def test_a_range_open_to_one_side_is_shaded_up_to_the_data():
    record = config_record(model=mlp(activation="relu"), y=np.linspace(-5, 5, 101))
    (axes,) = report((finding("final_activation_range"),), record=record).plot().subfigs[0].axes
    shaded = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert shaded.x0 == pytest.approx(0)
    assert shaded.x1 > 5


def test_plot_draws_the_loss_and_what_proves_the_findings(tmp_path):
    problems = (finding("unscaled_inputs"), finding("note", Severity.INFO))
    figure = report(problems, record=full_record()).plot()
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles == ["Loss at a learning rate of 0.01", "Scale of the input features"]
    figure.savefig(tmp_path / "x.png")


def test_a_picture_proves_the_findings_of_rules_that_judge_by_its_evidence():
    problem, own = finding("unscaled_inputs"), finding("a_rule_of_the_users_own")
    drawn = pictures(report((problem, own), record=full_record()))
    assert drawn["features"].findings == (problem,)
    assert not any(own in panel.findings for panel in drawn.values())
