import contextlib
import csv
import json
import math
import sqlite3
import struct

import numpy as np
import pandas as pd
import pytest

from lossdoctor import diagnose
from lossdoctor.record.run import RunRecord
from lossdoctor.sources import SourceError, read_source
from lossdoctor.sources.many import find_runs
from tests.records import history_record
from tests.reports import report

LOGS = {"loss": [0.9, 0.5, 0.4], "val_loss": [1.0, 0.8, 0.9]}


class FakeHistory:
    """What a Keras `History` callback is after `fit`."""

    def __init__(self, history, epoch=None, params=None):
        self.history, self.params = history, params
        self.epoch = list(range(len(next(iter(history.values()))))) if epoch is None else epoch


def logs(source):
    record = read_source(source)
    assert record.source == "history"
    return {name: values.tolist() for name, values in record.history.logs.items()}


# Objects ------------------------------------------------------------------------------------------


def test_a_history_object():
    params = {"verbose": 1, "epochs": 10, "steps": 16}
    record = read_source(FakeHistory(LOGS, epoch=[4, 5, 6], params=params))
    assert record.history.epochs.tolist() == [4, 5, 6]
    assert record.history.logs["loss"].tolist() == LOGS["loss"]
    assert (record.fit.epochs, record.fit.steps_per_epoch) == (10, 16)
    assert record.fit.completed_epochs == 3
    assert record.fit.has_validation


def test_a_history_without_params():
    assert read_source(FakeHistory(LOGS, params=None)).fit.epochs is None


def test_a_dict_a_data_frame_and_a_record():
    assert logs(LOGS) == LOGS
    assert logs(pd.DataFrame(LOGS)) == LOGS
    assert logs({"loss": np.array([1, 2]), "acc": (0.5, 0.6)}) == {
        "loss": [1.0, 2.0],
        "acc": [0.5, 0.6],
    }
    record = history_record(loss=[1.0])
    assert read_source(record) is record


@pytest.mark.parametrize("name", ["learning_rate", "lr"])
def test_the_learning_rate_is_no_log(name):
    record = read_source({"loss": [1.0, 0.9], name: [0.1, 0.01]})
    assert record.history.learning_rate.tolist() == [0.1, 0.01]
    assert list(record.history.logs) == ["loss"]


def test_the_names_of_other_loops_are_understood():
    given = {"train_loss": [1.0], "valid_loss": [2.0], "validation_acc": [0.5]}
    assert logs(given) == {"loss": [1.0], "val_loss": [2.0], "val_acc": [0.5]}
    assert logs({"loss": [1.0], "train_loss": [2.0]}) == {"loss": [1.0], "train_loss": [2.0]}


def test_validation_in_every_kth_epoch_is_put_in_its_place():
    found = read_source({"loss": [1.0] * 7, "val_loss": [0.5, 0.4, 0.3]}).history.logs["val_loss"]
    assert np.flatnonzero(np.isfinite(found)).tolist() == [1, 3, 5]


def test_logs_of_other_lengths_are_refused_by_name():
    with pytest.raises(SourceError, match="'acc' has 2 values where the longest log has 3"):
        read_source({"loss": [1.0, 0.9, 0.8], "acc": [0.5, 0.6]})


@pytest.mark.parametrize("source", [{}, {"loss": []}, {"loss": 0.5}, {"loss": "abc"}, {"x": [[1]]}])
def test_a_dict_without_numbers_per_epoch_is_refused(source):
    with pytest.raises(SourceError, match="one per epoch"):
        read_source(source)


@pytest.mark.parametrize("source", [None, 3, [1, 2], object()])
def test_anything_else_is_refused_with_what_is_taken(source):
    with pytest.raises(ValueError, match="the History returned by"):
        diagnose(source)


def test_diagnose_passes_rules_and_ignore_on():
    made = diagnose(LOGS, rules=[], ignore=["single_unit_softmax"])
    assert made.outcomes == ()
    with pytest.raises(ValueError, match="names no rule"):
        diagnose(LOGS, ignore=["nonsense"])


# Files --------------------------------------------------------------------------------------------


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_saved_record(tmp_path):
    history_record(loss=[1.0, 0.5]).save(tmp_path / "a.lossdoctor")
    assert read_source(str(tmp_path / "a.lossdoctor")).history.logs["loss"].tolist() == [1.0, 0.5]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_csv_logger_file(tmp_path, separator):
    path = tmp_path / "log"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(["epoch", "loss", "val_loss", "learning_rate"])
        writer.writerows([[0, 0.9, "NA", 0.1], [1, "nan", 0.8, 0.1], [2, "inf", 0.7, 0.01]])
    record = read_source(path)
    loss, val_loss = record.history.logs["loss"], record.history.logs["val_loss"]
    assert (loss[0], math.isnan(loss[1]), loss[2]) == (0.9, True, math.inf)
    assert (math.isnan(val_loss[0]), val_loss[2]) == (True, 0.7)
    assert record.history.learning_rate.tolist() == [0.1, 0.1, 0.01]
    assert record.history.epochs.tolist() == [0, 1, 2]


def test_a_byte_order_mark_blank_lines_and_half_a_last_line(tmp_path):
    path = write(tmp_path / "log.csv", "\ufeffepoch,loss,acc\n0,0.9,0.5\n\n1,0.8,0.6\n2,0.7")
    assert logs(path) == {"loss": [0.9, 0.8], "acc": [0.5, 0.6]}


def test_of_runs_appended_to_one_file_the_last_is_read(tmp_path):
    path = write(tmp_path / "log.csv", "epoch,loss\n0,9\n1,8\n0,7\n1,6\n2,5\n")
    record = read_source(path)
    assert record.history.logs["loss"].tolist() == [7, 6, 5]
    assert "holds 2 runs" in record.not_recorded["earlier runs"]


def test_a_run_continued_by_initial_epoch_is_one_run(tmp_path):
    path = write(tmp_path / "log.csv", "epoch,loss\n0,9\n1,8\n2,7\n3,6\n")
    assert len(read_source(path).history.epochs) == 4


def test_a_loop_of_fits_of_one_epoch_is_one_run(tmp_path):
    path = write(tmp_path / "log.csv", "epoch,loss\n0,9\n0,8\n0,7\n")
    record = read_source(path)
    assert record.history.logs["loss"].tolist() == [9, 8, 7]
    assert record.history.epochs.tolist() == [0, 0, 0]


def test_a_column_that_is_no_number_is_left_out(tmp_path):
    path = write(tmp_path / "log.csv", 'epoch,loss,note,list\n0,0.9,good,"[1, 2]"\n')
    assert logs(path) == {"loss": [0.9]}


@pytest.mark.parametrize(
    "document",
    [
        LOGS,
        {"history": LOGS},
        [{"epoch": i, **{k: v[i] for k, v in LOGS.items()}} for i in range(3)],
    ],
)
def test_json_histories(tmp_path, document):
    assert logs(write(tmp_path / "h.json", json.dumps(document))) == LOGS


def test_json_with_nan_and_one_object_per_line(tmp_path):
    path = write(tmp_path / "h.jsonl", '{"epoch": 0, "loss": 1.0}\n{"epoch": 1, "loss": NaN}\n')
    assert math.isnan(logs(path)["loss"][1])


def test_a_report_is_not_a_run(tmp_path):
    report().save(tmp_path / "r.json")
    with pytest.raises(SourceError, match="a report that LossDoctor wrote"):
        read_source(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not a text file"),
        (b"hello world\n", "no complete line of numbers"),
        (b"epoch,loss\n", "no complete line of numbers"),
        (b"a,b\nx,y\n", "no training history"),
        (b'{"loss": [1.0, 0.5', "does not parse"),
        (b"[1, 2, 3]", "no history"),
        (b'{"a": {"b": 1}}', "no training history"),
        (b'{"format": "lossdoctor-record", "version": 1}', "damaged"),
    ],
)
def test_a_file_that_is_no_run_is_refused_by_name(tmp_path, content, says):
    path = tmp_path / "odd.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says) as raised:
        read_source(path)
    assert "odd.txt" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_file_is_pointed_to_check(tmp_path):
    (tmp_path / "m.keras").write_bytes(b"PK\x03\x04\xff\xff")
    with pytest.raises(SourceError, match="For a model, use: lossdoctor check"):
        read_source(tmp_path / "m.keras")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_source(tmp_path / "none.csv")


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(SourceError, match="without TensorBoard event files"):
        read_source(tmp_path)


# TensorBoard --------------------------------------------------------------------------------------


def varint(number):
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def message(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def event(step, tag, value, *, tensor=True):
    if tensor:
        scalar = message(8, b"\x08\x01" + message(2, b"") + message(5, struct.pack("<f", value)))
    else:
        scalar = b"\x15" + struct.pack("<f", value)
    return b"\x10" + varint(step) + message(5, message(1, message(1, tag.encode()) + scalar))


def event_file(path, events):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for data in [message(3, b"brain.Event:2"), *events]:
            file.write(struct.pack("<Q", len(data)) + b"crc4" + data + b"crc4")
    return path


def keras_folder(folder, losses, name="events.out.tfevents.1.host.v2", start=0):
    for side, offset in (("train", 0.0), ("validation", 0.5)):
        events = [event(start + i, "epoch_loss", loss + offset) for i, loss in enumerate(losses)]
        if side == "train":
            events += [event(start + i, "epoch_learning_rate", 0.25) for i in range(len(losses))]
            events += [event(999, "batch_loss", 7.0), event(0, "keras", 0.0)[:8]]
        else:
            events.append(event(321, "evaluation_loss_vs_iterations", 7.0))
        event_file(folder / side / name, events)


def test_the_folder_of_the_keras_callback(tmp_path):
    keras_folder(tmp_path, [2.0, 1.0, 0.5])
    record = read_source(tmp_path)
    assert record.history.logs["loss"].tolist() == [2.0, 1.0, 0.5]
    assert record.history.logs["val_loss"].tolist() == [2.5, 1.5, 1.0]
    assert record.history.learning_rate.tolist() == [0.25] * 3
    assert list(record.history.logs) == ["loss", "val_loss"]


def test_of_several_runs_in_a_folder_the_last_is_read(tmp_path):
    keras_folder(tmp_path, [9.0, 8.0])
    keras_folder(tmp_path, [2.0, 1.0, 0.5], name="events.out.tfevents.2.host.v2")
    record = read_source(tmp_path)
    assert record.history.logs["loss"].tolist() == [2.0, 1.0, 0.5]
    assert "holds 2 runs" in record.not_recorded["earlier runs"]


def test_a_run_that_was_continued_is_joined(tmp_path):
    keras_folder(tmp_path, [4.0, 3.0])
    keras_folder(tmp_path, [2.0, 1.0], name="events.out.tfevents.2.host.v2", start=2)
    assert read_source(tmp_path).history.logs["loss"].tolist() == [4.0, 3.0, 2.0, 1.0]


def test_an_event_file_of_another_framework(tmp_path):
    events = [
        event(s, tag, 1.0, tensor=False) for s in (10, 20) for tag in ("loss/train", "Loss/val")
    ]
    path = event_file(tmp_path / "events.out.tfevents.1", events)
    for source in (path, tmp_path):
        assert logs(source) == {"loss": [1.0, 1.0], "val_loss": [1.0, 1.0]}


def test_an_event_file_cut_short_keeps_what_is_whole(tmp_path):
    path = event_file(tmp_path / "events.out.tfevents.1", [event(s, "loss", 1.0) for s in range(5)])
    path.write_bytes(path.read_bytes()[:-9])
    assert len(read_source(path).history.epochs) == 4


def test_events_without_scalars_are_refused(tmp_path):
    event_file(tmp_path / "train" / "events.out.tfevents.1", [])
    with pytest.raises(SourceError, match="without scalars"):
        read_source(tmp_path)


@pytest.mark.train
def test_events_as_tensorflow_writes_them(tmp_path):
    import tensorflow as tf
    from tensorflow.core.util import event_pb2

    path = tmp_path / "train" / "events.out.tfevents.1.v2"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(event_pb2.Event(file_version="brain.Event:2").SerializeToString())
        for step, loss in enumerate([1.5, 0.5, float("nan")]):
            written = event_pb2.Event(wall_time=1.0, step=step)
            value = written.summary.value.add(tag="epoch_loss")
            value.tensor.CopyFrom(tf.make_tensor_proto(loss, tf.float32))
            value.metadata.plugin_data.plugin_name = "scalars"
            writer.write(written.SerializeToString())
    loss = read_source(tmp_path).history.logs["loss"]
    assert loss[:2].tolist() == [1.5, 0.5]
    assert math.isnan(loss[2])


# MLflow -------------------------------------------------------------------------------------------


def mlflow_run(folder, **metrics):
    (folder / "metrics").mkdir(parents=True)
    write(folder / "meta.yaml", "run_id: 1\n")
    for name, values in metrics.items():
        lines = [f"1700000000000 {value} {step}" for step, value in enumerate(values)]
        write(folder / "metrics" / name, "\n".join(lines) + "\n")
    return folder


def test_an_mlflow_run_folder(tmp_path):
    run = mlflow_run(tmp_path / "0" / "abc", loss=[0.9, 0.5], val_loss=[1.0, "nan"])
    (run / "metrics" / "system").mkdir()
    write(run / "metrics" / "system" / "cpu", "1700000000000 50 77\n")
    record = read_source(run)
    assert record.history.logs["loss"].tolist() == [0.9, 0.5]
    assert math.isnan(record.history.logs["val_loss"][1])


def test_an_mlflow_run_without_metrics(tmp_path):
    with pytest.raises(SourceError, match="without metrics"):
        read_source(mlflow_run(tmp_path / "r"))


def test_a_damaged_metric(tmp_path):
    run = mlflow_run(tmp_path / "r", loss=[1.0])
    write(run / "metrics" / "loss", "oops\n")
    with pytest.raises(SourceError, match="timestamp value step"):
        read_source(run)


def test_a_record_is_what_comes_out():
    assert isinstance(read_source(LOGS), RunRecord)


@pytest.fixture
def mlflow_store(tmp_path):
    """An SQLite store with the columns MLflow 3 writes, two runs with metrics and one without."""
    path = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE runs (run_uuid TEXT, lifecycle_stage TEXT, start_time INT)")
        database.execute(
            "CREATE TABLE metrics (key TEXT, value FLOAT, timestamp INT, step INT, is_nan BOOLEAN, "
            "run_uuid TEXT)"
        )
        runs = [("late", 30), ("early", 10), ("empty", 20), ("deleted", 40)]
        for name, start in runs:
            stage = "deleted" if name == "deleted" else "active"
            database.execute("INSERT INTO runs VALUES (?, ?, ?)", (name, stage, start))
        rows = [
            ("loss", 0.9, 1, 0, 0, "early"),
            ("loss", 0.0, 2, 1, 1, "early"),
            ("loss", 1.7976931348623157e308, 3, 2, 0, "early"),
            ("system/cpu", 5.0, 3, 99, 0, "early"),
            ("loss", 0.5, 4, 0, 0, "late"),
            ("loss", 0.4, 5, 0, 0, "late"),
            ("loss", 0.1, 5, 0, 0, "deleted"),
        ]
        database.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
        database.commit()
    return path


def test_an_mlflow_store_stands_for_its_runs(mlflow_store):
    early, late = find_runs([mlflow_store])
    assert (early.name, late.name) == ("early", "late")
    values = read_source(early).history.logs["loss"]
    assert values[0] == 0.9
    assert np.isnan(values[1])
    assert np.isposinf(values[2])
    assert len(values) == 3


def test_of_an_mlflow_store_the_last_run_is_read_and_the_last_entry_counts(mlflow_store):
    record = read_source(mlflow_store)
    assert record.history.logs["loss"].tolist() == [0.4]
    assert "2 runs; the one started last" in record.not_recorded["earlier runs"]


def test_another_sqlite_file_is_no_store(tmp_path):
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE birds (name TEXT)")
    assert find_runs([path]) == [path]
    with pytest.raises(SourceError, match="is no MLflow store"):
        read_source(path)


def test_a_folder_stands_for_what_may_be_runs_in_it(tmp_path, mlflow_store):
    for name in ("a.csv", "training.log", "program.py", "report.html", ".hidden.csv"):
        (tmp_path / name).write_text("epoch,loss\n0,1.0\n")
    names = [run.name for run in find_runs([tmp_path])]
    assert names == ["a.csv", "early", "late", "training.log"]
    assert find_runs([tmp_path / "program.py"]) == [tmp_path / "program.py"]
