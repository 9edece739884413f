import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from tests.records import chain, config_record, dense, findings_of, layer, learned, outcome_of

SLUG = "unmasked_padding"
Y = np.arange(60) % 2


def ids(padded, *, front=False):
    drawn = np.random.default_rng(0).integers(1, 100, (60, 50))
    drawn[:, : padded if front else 0] = 0
    if not front:
        drawn[:, 50 - padded :] = 0
    return drawn


def record(x, *between, cell="LSTM", mask=False, embedding=True, **config):
    first = [layer("words", "Embedding", input_dim=100, mask_zero=mask)] if embedding else []
    layers = [*first, *between, layer("cell", cell, **config), dense("dense", 1, 8)]
    return config_record(model=chain(*layers, inputs=50), x=x, y=Y)


def found(x, *between, **options):
    return findings_of(SLUG, record(x, *between, **options))


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "SimpleRNN"])
def test_a_last_state_behind_padding(cell):
    (finding,) = found(ids(30), cell=cell)
    assert finding.severity is Severity.WARNING
    assert "30 steps of zeros" in finding.message
    assert '"words": {"mask_zero": True}' in finding.remedies[0].code


def test_padded_numbers_get_a_masking_layer():
    series = np.random.default_rng(0).normal(size=(60, 50, 2))
    series[:, 20:] = 0
    (finding,) = found(series, embedding=False)
    assert "keras.layers.Masking(mask_value=0)" in finding.remedies[0].code


def test_a_mask_of_another_value_than_the_padding():
    series = np.random.default_rng(0).normal(size=(60, 50, 2))
    series[:, 20:] = -1
    (finding,) = found(series, layer("mask", "Masking", mask_value=0.0), embedding=False)
    assert "30 steps of -1" in finding.message
    assert "'mask' does not hide (it masks 0)" in finding.message
    assert '"mask": {"mask_value": -1.0}' in finding.remedies[0].code
    assert not found(series, layer("mask", "Masking", mask_value=-1.0), embedding=False)


def test_the_mask_itself_is_another_input_of_the_cell():
    series = np.random.default_rng(0).normal(size=(60, 50, 2))
    series[:, 20:] = -1
    model = chain(layer("mask", "Masking", mask_value=0.0), layer("cell", "LSTM"), dense("d", 1, 8))
    cell = dataclasses.replace(model.layers[2], inbound=(1, 4))
    extra = layer("any", "Any")
    layers = (*model.layers[:2], cell, model.layers[3], extra)
    (finding,) = findings_of(
        SLUG, config_record(model=dataclasses.replace(model, layers=layers), x=series, y=Y)
    )
    assert finding.layers == ("cell",)


def test_ids_filled_up_with_another_id_than_0():
    padded = np.where(ids(30) == 0, 7, ids(30))
    (finding,) = found(padded)
    assert "instead of 7" in finding.remedies[0].text


def test_through_a_recurrent_layer_that_returns_its_sequence():
    below = layer("below", "GRU", return_sequences=True)
    (finding,) = found(ids(30), below)
    assert finding.layers == ("cell",)


def test_a_run_that_learned_makes_it_information():
    (finding,) = findings_of(SLUG, learned(record(ids(30)), 0.9))
    assert finding.severity is Severity.INFO


def test_boundary():
    assert not found(ids(10))
    assert found(ids(11))


def test_silent_where_padding_is_hidden_in_front_or_not_there():
    assert not found(ids(30), mask=True)
    assert not found(ids(30), layer("mask", "Masking"), embedding=False)
    assert not found(ids(30, front=True))
    assert not found(ids(0))
    assert not found(ids(30), layer("pool", "MaxPooling1D"))


def test_not_applicable_without_a_last_state():
    for options in ({"return_sequences": True}, {"wrapper": "Bidirectional"}):
        assert outcome_of(SLUG, record(ids(30), **options)).status == "not_applicable"
    without = dataclasses.replace(record(ids(30)), train=None)
    assert outcome_of(SLUG, without).status == "not_applicable"
