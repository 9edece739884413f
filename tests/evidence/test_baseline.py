import dataclasses

import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.baseline import Baseline, LossScale
from lossdoctor.record.run import FitRecord, LossRecord, TargetPairing
from tests.records import history_record, trained


def with_losses(record, *losses):
    return dataclasses.replace(record, losses=losses)


def test_positions_run_from_the_floor_to_the_baseline():
    record = with_losses(trained([1.0, 0.8]), LossRecord(name="kl", baseline=1.0, floor=0.6))
    found = Baseline.from_record(record)
    assert found.position(0.6) == 0.0
    assert found.position(1.0) == 1.0
    assert found.end == pytest.approx(0.5)


def test_losses_of_several_outputs_add_up_with_their_weights():
    record = with_losses(
        trained([2.0, 1.0]),
        LossRecord(name="a", baseline=1.0, floor=0.0),
        LossRecord(name="b", baseline=2.0, floor=0.5, weight=0.5),
    )
    found = Baseline.from_record(record)
    assert (found.value, found.floor) == (2.0, 0.25)


def test_the_trained_model_counts_where_the_logged_loss_looks_worse():
    record = trained([1.0, 1.0])
    pairing = (TargetPairing(output=0, rows=8, loss=0.2),)
    record = dataclasses.replace(record, train=dataclasses.replace(record.train, pairing=pairing))
    assert Baseline.from_record(record).end == pytest.approx(0.2)


@pytest.mark.parametrize("weights", ["class_weight", "sample_weight"])
def test_weights_forbid_the_comparison(weights):
    record = dataclasses.replace(trained([1.0, 0.5]), fit=FitRecord(**{weights: True}))
    with pytest.raises(NotApplicable, match="weights"):
        Baseline.from_record(record)


def test_unrecorded_penalties_constant_targets_and_missing_baselines_forbid_it():
    record = trained([1.0, 0.5])
    model = dataclasses.replace(record.model, added_losses=1)
    with pytest.raises(NotApplicable, match="penalties"):
        Baseline.from_record(dataclasses.replace(record, model=model))
    with pytest.raises(NotApplicable, match="constant"):
        Baseline.from_record(with_losses(record, LossRecord(name="a", baseline=0.0, floor=0.0)))
    with pytest.raises(NotRecorded, match="constant prediction"):
        Baseline.from_record(trained([1.0, 0.5], baseline=None))
    with pytest.raises(NotApplicable, match="never finite"):
        Baseline.from_record(trained([np.nan]))


def test_scale_falls_back_on_the_first_loss():
    found = LossScale.from_record(history_record(loss=[4.0, 2.0, 1.0]))
    assert (found.value, found.end, found.from_baseline) == (4.0, 0.25, False)
    assert found.unit == "of the first loss"
    known = LossScale.from_record(trained([4.0, 1.0], baseline=2.0))
    assert (known.value, known.end, known.from_baseline) == (2.0, 0.5, True)
    with pytest.raises(NotApplicable, match="negative"):
        LossScale.from_record(history_record(loss=[1.0, -2.0]))
    with pytest.raises(NotApplicable, match="above zero"):
        LossScale.from_record(history_record(loss=[0.0, 0.0]))


@pytest.mark.parametrize(
    ("end", "place"),
    [
        (2.0, "at a constant prediction's loss"),
        (1.0, "at 0.5 of a constant prediction's loss"),
        (6.0, "at 3 times a constant prediction's loss"),
    ],
)
def test_the_end_of_a_run_is_told_in_words(end, place):
    record = with_losses(trained([end] * 5), LossRecord(name="kl", baseline=2.0, floor=0.0))
    assert LossScale.from_record(record).place == place
