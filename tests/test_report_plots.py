import dataclasses
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from lossdoctor.finding import Onset
from lossdoctor.record.run import ActivationRecord, RunRecord, UnitSeries
from lossdoctor.report import figure_data, plots
from tests.records import config_record, history, history_record, mlp, run_record, variables
from tests.reports import caused, finding, full_record, report


def test_loss_curves_count_epochs_from_1_and_carry_onset_and_baseline():
    onset = finding("x", onset=Onset(epoch=4))
    exact = finding("y", onset=Onset(epoch=4, step=71))
    data = figure_data.loss_curves(full_record(), (onset, onset, exact))
    assert data.epoch[0] == 1
    assert list(data.curves) == ["loss", "val_loss"]
    assert data.baseline == pytest.approx(1.0986)
    assert data.onsets == ((5.0, "X"), (4.5, "Y"))
    assert data.batch_epoch[-1] == pytest.approx(20)
    assert data.learning_rate.tolist() == [0.01] * 20
    assert data.non_finite is None


def test_loss_curves_know_where_the_loss_is_no_number_and_when_to_use_decades():
    data = figure_data.loss_curves(history_record(loss=[1.0, 100.0, np.nan, np.nan]))
    assert data.non_finite == 3
    assert data.end == 4
    assert figure_data.loss_curves(history_record(loss=[1.0] + [np.nan] * 99)).end < 5
    assert data.logarithmic
    assert not figure_data.loss_curves(history_record(loss=[1.0, 0.5])).logarithmic
    assert not figure_data.loss_curves(history_record(loss=[-1.0, 500.0])).logarithmic


def test_the_rate_of_a_schedule_is_not_drawn_as_constant():
    record = config_record()
    scheduled = dataclasses.replace(record.optimizer, schedule="CosineDecay")
    record = run_record(record, history=history(loss=[1.0, 0.9]))
    assert len(figure_data.loss_curves(record).learning_rate) == 2
    record = dataclasses.replace(record, optimizer=scheduled)
    assert len(figure_data.loss_curves(record).learning_rate) == 0


def test_heat_maps_reduce_variables_to_layers():
    model = mlp(inputs=4, hidden=((9, "relu"),))
    series = variables(model, count=3, gradient_norm=6.0, update_norm=0.3, weight_norm=3.0)
    record = RunRecord(source="run", variables=series)
    gradient = figure_data.gradient_heat_map(record)
    assert gradient.layers == ("dense", "dense_1")
    size = 4 * 9 + 9
    assert gradient.values[0] == pytest.approx(np.log10(np.sqrt(72 / size)))
    update = figure_data.update_heat_map(record)
    assert update.values == pytest.approx(-1)
    band = figure_data.update_band(record)
    assert band.low == pytest.approx(0.1)
    assert band.high == pytest.approx(0.1)


def test_heat_maps_are_thinned_to_a_bounded_width():
    record = RunRecord(source="run", variables=variables(mlp(), count=5000))
    data = figure_data.gradient_heat_map(record)
    assert data.values.shape == (2, figure_data.MAX_COLUMNS)
    assert (data.step[0], data.step[-1]) == (0, 4999)


def test_feature_scales_keep_the_most_extreme():
    x = np.random.default_rng(0).normal(size=(50, 100)) * np.logspace(0, 3, 100)
    data = figure_data.feature_scales(config_record(x=x))
    assert len(data.names) == figure_data.MAX_BARS
    assert data.left_out == 100 - figure_data.MAX_BARS
    assert data.names[0] in {"feature 97", "feature 98", "feature 99"}
    assert data.std[0] > 100 > data.std[-1]


@pytest.mark.parametrize("y", [[0, 0, 0, 1], [[1, 0], [1, 0], [1, 0], [0, 1]]])
def test_class_shares_of_ids_and_one_hot_rows(y):
    data = figure_data.class_shares(config_record(y=np.array(y)))
    assert data.classes == ("0", "1")
    assert data.train.tolist() == [0.75, 0.25]
    assert data.validation is None


def test_continuous_targets_have_no_classes():
    assert figure_data.class_shares(config_record(y=np.linspace(0, 1, 50))) is None


def test_unit_shares_join_gradients_and_activations():
    units = UnitSeries(
        layers=("a",), units=(8,), epoch=np.arange(2), dead_fraction=np.array([[0.1], [0.5]])
    )
    saturated = ActivationRecord(
        layer="b", activation="tanh", rows=9, mean=0.0, std=1.0, zero_units=0.0,
        constant_units=0.0, saturated_fraction=0.9,
    )  # fmt: skip
    data = figure_data.unit_shares(RunRecord(source="run", units=units, activations=(saturated,)))
    assert data.layers == ("a", "b")
    assert data.dead.tolist() == [0.5, 0.0]
    assert data.saturated[1] == 0.9


def test_shift_is_told_in_units_of_training():
    x = np.random.default_rng(0).normal(size=(500, 3))
    data = figure_data.shift(
        config_record(x=x, y=x[:, 0], validation=(x + np.array([0, 5, 0]), x[:, 0]))
    )
    assert data.names[0] == "feature 1"
    assert data.mean[0] == pytest.approx(5, rel=0.1)
    assert data.std == pytest.approx(1)


@pytest.mark.parametrize("source", ["run", "config", "history"])
def test_an_empty_record_has_no_pictures(source):
    record = RunRecord(source=source)
    assert all(picture.data(record, ()) is None for picture in plots.PICTURES)
    assert all(plots.svg(picture, record, ()) == "" for picture in plots.PICTURES)
    assert report(record=record).plot().axes == []


def test_every_picture_is_well_formed_svg_in_the_colors_of_the_page():
    record = full_record(layer="a $x$ <b> & _")
    drawn = {p.name: plots.svg(p, record, caused()) for p in plots.PICTURES}
    assert {name for name, svg in drawn.items() if svg} == {p.name for p in plots.PICTURES} - {
        "units"
    }
    for svg in filter(None, drawn.values()):
        ET.fromstring(svg)
        assert "currentColor" in svg
        assert "#010203" not in svg
        assert "<b>" not in svg
    assert "a $x$ &lt;b&gt;" in drawn["gradients"]


@pytest.mark.parametrize(
    "loss", [[np.nan], [np.inf, np.nan], [0.0, 0.0], [-1.0, 5.0], [1e30, 1e-30]]
)
def test_odd_losses_can_be_drawn(loss, tmp_path):
    figure = report(record=history_record(loss=loss)).plot()
    figure.savefig(tmp_path / "x.png")


def test_plot_draws_the_loss_and_what_proves_the_findings(tmp_path):
    figure = report(caused(), record=full_record()).plot()
    assert figure.subfigs[0].axes[0].get_title(loc="left") == "Loss, learning rate 0.01"
    figure.savefig(tmp_path / "x.png")


def test_a_finding_picks_the_picture_of_the_evidence_its_rule_asks_for():
    record = full_record()
    (picture,) = plots.pictures_for(finding("unscaled_inputs"), record)
    assert picture.name == "features"
    assert plots.pictures_for(finding("a_rule_of_the_users_own"), record) == ()


def test_the_evidence_that_pictures_prove_exists():
    import importlib

    for picture in plots.PICTURES:
        for name in picture.proves:
            importlib.import_module(f"lossdoctor.evidence.{name}")
