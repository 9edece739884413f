import pytest

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.memory import Memory
from tests.records import chain, config_record, dense, layer

Y = [0, 1] * 20


def record(*cells, **probes):
    return config_record(model=chain(*cells, dense("head", 1, 8)), y=Y, probes=probes)


def test_what_only_early_steps_tell_is_out_of_reach():
    found = Memory.from_record(
        record(
            layer("below", "GRU", return_sequences=True),
            layer("cell", "SimpleRNN"),
            memory=20.0,
            memory_steps=100.0,
            memory_signal=-0.01,
            flat_signal=0.9,
        )
    )
    assert (found.cell.name, found.within, found.steps) == ("cell", 20, 100)
    assert found.out_of_reach == 0.9


def test_not_applicable_where_all_is_within_reach_not_measured_or_not_recurrent():
    cell = layer("cell", "LSTM")
    with pytest.raises(NotApplicable, match="every step"):
        Memory.from_record(record(cell, memory=30.0, memory_steps=30.0, flat_signal=0.9))
    with pytest.raises(NotApplicable, match="gradients by time step"):
        Memory.from_record(record(cell))
    with pytest.raises(NotApplicable, match="no recurrent"):
        Memory.from_record(record())
