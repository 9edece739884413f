import keras
import numpy as np
import pytest

from lossdoctor import LossDoctor, diagnose
from lossdoctor.record.run import RunRecord
from lossdoctor.sources.files import read_path
from lossdoctor.tensorboard import epoch_curves, write_report
from tests.records import unit_series
from tests.reports import caused, full_record, report


def test_curves_are_medians_by_epoch():
    record = full_record(units=unit_series({"dense": [0.0, 0.5], "dense_1": [0.0, 0.0]}, epochs=2))
    curves = epoch_curves(record)
    assert list(curves) == ["gradient_norm", "update_ratio", "dead_units"]
    assert list(curves["gradient_norm"]) == list(range(20))
    norms = record.steps.gradient_norm[record.steps.epoch == 3]
    assert curves["gradient_norm"][3] == pytest.approx(np.median(norms))
    assert curves["dead_units"] == {0: 0.0, 1: pytest.approx(0.25)}


def test_a_history_has_no_curves_of_its_own():
    assert epoch_curves(RunRecord(source="history")) == {}


def test_what_is_written_can_be_read_back(tmp_path):
    written = write_report(report(caused(), record=full_record()), tmp_path)
    assert written.parent == tmp_path / "lossdoctor"
    text = written.read_bytes()
    assert b"lossdoctor/report" in text
    assert b"# LossDoctor report" in text
    logs = read_path(written).history.logs
    expected = epoch_curves(full_record())
    assert set(logs) == {"lossdoctor/gradient_norm", "lossdoctor/update_ratio"}
    for name, values in logs.items():
        kept = values[np.isfinite(values)]
        assert kept == pytest.approx(list(expected[name.partition("/")[2]].values()), rel=1e-6)


def test_the_argument_is_checked():
    with pytest.raises(ValueError, match="Received: log_dir=3 of type int"):
        LossDoctor(log_dir=3)


@pytest.mark.train
def test_a_run_is_logged_beside_keras_own_curves(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 3))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    doctor = LossDoctor(verbose=0, log_dir=tmp_path)
    model.fit(x, x[:, 0], epochs=4, verbose=0, callbacks=[doctor])
    (events,) = (tmp_path / "lossdoctor").iterdir()
    logs = read_path(events).history.logs
    assert len(logs["lossdoctor/gradient_norm"]) == 4
    first = doctor.record.steps.gradient_norm[doctor.record.steps.epoch == 0]
    assert logs["lossdoctor/gradient_norm"][0] == pytest.approx(np.median(first), rel=1e-6)
    assert diagnose(doctor.record).findings == doctor.report.findings
