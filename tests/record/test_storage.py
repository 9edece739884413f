import dataclasses
import json

import numpy as np
import pytest

from lossdoctor.record.run import RunRecord
from lossdoctor.record.storage import RecordError
from tests.records import config_record, history, mlp, run_record, steps, variables


@pytest.fixture
def record():
    model = mlp()
    return run_record(
        config_record(model=model, x=np.eye(4), y=[1.0, np.nan, 3.0, 4.0]),
        history=history(loss=[1.0, np.inf, np.nan]),
        steps=steps([1.0, np.inf, np.nan]),
        variables=variables(model),
        probes={"a": float("nan"), "b": float("-inf")},
    )


def equal(a, b):
    if dataclasses.is_dataclass(a):
        return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b or (isinstance(a, float) and np.array_equal(a, b, equal_nan=True))


def test_a_saved_record_comes_back_to_the_bit(record, tmp_path):
    path = tmp_path / "run.lossdoctor"
    record.save(path)
    assert equal(RunRecord.load(path), record)


def test_a_record_is_json_without_pickled_or_raw_data(record, tmp_path):
    path = tmp_path / "run.lossdoctor"
    record.save(path)
    document = json.loads(path.read_text())
    assert document["format"] == "lossdoctor-record"
    assert document["record"]["source"] == "run"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "does not parse"),
        (lambda text: text.replace('"source":"run"', '"source":"ran"'), "checksum"),
        (lambda text: '{"loss": [1, 2]}', "lacks the mark"),
        (lambda text: text.replace('"version": 1', '"version": 99'), "format 99"),
        (lambda text: "epoch,loss\n0,1.0\n", "does not parse"),
        (lambda text: "", "is empty"),
    ],
)
def test_damaged_and_foreign_files_get_a_clear_error(record, tmp_path, damage, message):
    path = tmp_path / "run.lossdoctor"
    record.save(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(RecordError, match=message) as caught:
        RunRecord.load(path)
    assert str(path) in str(caught.value)


def test_binary_files_are_refused(tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")
    with pytest.raises(RecordError, match="not a text file"):
        RunRecord.load(path)


def test_a_failed_save_leaves_the_old_file(record, tmp_path, monkeypatch):
    path = tmp_path / "run.lossdoctor"
    path.write_text("precious")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        record.save(path)
    assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["run.lossdoctor"]
