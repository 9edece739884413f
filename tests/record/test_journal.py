"""The journal: the whole record now and then, a line an epoch between; nothing torn is believed."""

import dataclasses
import functools
import time

import numpy as np
import pytest

from lossdoctor import diagnose
from lossdoctor.record.epochs import EpochLog, extended
from lossdoctor.record.journal import Journal
from lossdoctor.record.run import UNFINISHED, FitRecord, History, RunRecord
from lossdoctor.record.storage import RecordError

EPOCHS = [
    EpochLog(
        epoch=i, logs={"loss": 1 / (i + 1)} | ({"välue": i} if i % 2 else {}), learning_rate=0.1
    )
    for i in range(6)
]


def record(epochs):
    return RunRecord(
        source="run",
        fit=FitRecord(epochs=100, completed_epochs=len(epochs), stopped=UNFINISHED),
        history=extended(History(), epochs),
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.lossdoctor"


@pytest.fixture
def written(path):
    """A journal whose record holds three epochs and whose lines hold three more."""
    journal = Journal(path)
    for i, epoch in enumerate(EPOCHS):
        journal._due = np.inf if i > 2 else 0.0
        journal.add(epoch, functools.partial(record, EPOCHS[: i + 1]))
    return path


def test_epochs_after_the_record_are_read_from_their_lines(written):
    assert len(written.read_text().splitlines()) == 4
    found = RunRecord.load(written)
    assert found.fit.completed_epochs == 6
    assert found.fit.stopped == UNFINISHED
    np.testing.assert_array_equal(found.history.epochs, np.arange(6))
    np.testing.assert_array_equal(found.history.logs["loss"], 1 / np.arange(1, 7))
    np.testing.assert_array_equal(found.history.logs["välue"], [np.nan, 1, np.nan, 3, np.nan, 5])
    np.testing.assert_array_equal(found.history.learning_rate, np.full(6, 0.1))
    assert not len(found.history.penalty)
    assert diagnose(written).record.fit.completed_epochs == 6


def test_a_file_cut_anywhere_loses_no_epoch_before_the_cut_and_tells_no_lies(written):
    whole = written.read_bytes()
    first = whole.index(b"\n")
    for cut in range(len(whole)):
        written.write_bytes(whole[:cut])
        if cut < first:
            with pytest.raises(RecordError):
                RunRecord.load(written)
            continue
        epochs = 3 + max(0, whole[:cut].count(b"\n") - 1)
        found = RunRecord.load(written)
        assert found.fit.completed_epochs == epochs
        np.testing.assert_array_equal(found.history.logs["loss"], 1 / np.arange(1, epochs + 1))


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], lines[1].replace("0.25", "0.26"), *lines[2:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[2], lines[1], lines[3]],
        lambda lines: [lines[0], "", *lines[1:]],
        lambda lines: [lines[0].replace('"epochs":100', '"epochs":101'), *lines[1:]],
    ],
)
def test_damage_before_the_last_line_is_an_error(written, damage):
    lines = written.read_text().splitlines()
    damaged = damage(lines)
    assert damaged != lines
    written.write_text("\n".join(damaged) + "\n")
    with pytest.raises(RecordError, match="damaged"):
        RunRecord.load(written)


def test_the_record_is_replaced_no_more_often_than_costs_a_hundredth_of_the_time(path):
    made = []

    def slow():
        time.sleep(0.01)
        made.append(time.monotonic())
        return record(EPOCHS)

    journal, start = Journal(path), time.monotonic()
    while time.monotonic() < start + 0.3:
        journal.add(EPOCHS[0], slow)
    assert len(made) == 2, "the first two epochs, then not for a second"


def test_a_journal_begins_by_emptying_the_file_of_an_earlier_run(path):
    record(EPOCHS).save(path)
    Journal(path)
    with pytest.raises(RecordError, match="had not finished its first epoch"):
        RunRecord.load(path)
    with pytest.raises(ValueError, match="not finished its first epoch"):
        diagnose(path)


def test_the_record_of_the_whole_run_takes_the_place_of_the_lines(written):
    journal = Journal(written)
    journal.add(EPOCHS[0], lambda: record(EPOCHS[:1]))
    journal.replace(dataclasses.replace(record(EPOCHS), probes={"a": 1.0}))
    assert RunRecord.load(written).probes == {"a": 1.0}
    assert len(written.read_text().splitlines()) == 1
