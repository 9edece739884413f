import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

import lossdoctor
from lossdoctor.cli import main
from lossdoctor.rules import rule_classes
from tests.records import history_record

COMMANDS = ["demo", "check", "diagnose", "rules", "explain", "validate"]


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.csv"
    rows = "".join(f"{i},{'nan' if i > 2 else 1.0 - 0.1 * i}\n" for i in range(20))
    path.write_text("epoch,loss\n" + rows)
    return path


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.json"
    loss = (0.02 + np.exp(-np.arange(60) / 6)).tolist()
    path.write_text(json.dumps({"loss": loss, "val_loss": loss}))
    return path


def test_help_and_version():
    assert run("--version").output.strip() == f"lossdoctor, version {lossdoctor.__version__}"
    listing = run("--help").output
    for command in COMMANDS:
        assert command in listing
        for flag in ("--help", "-h"):
            result = run(command, flag)
            assert result.exit_code == 0
            assert "Usage:" in result.output


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["diagnose"], ["check"], ["explain"]])
def test_wrong_usage_exits_2(arguments):
    assert run(*arguments).exit_code == 2


def test_rules_lists_every_rule():
    text = run("rules").output
    assert all(slug in text for slug in rule_classes())
    table = run("rules", "--markdown").output
    assert "| `single_unit_softmax` | ERROR |" in table


@pytest.mark.parametrize("slug", sorted(rule_classes()))
def test_explain_renders_every_docstring(slug):
    result = run("explain", slug)
    assert result.exit_code == 0
    assert "How it is measured\n" in result.output
    assert "**" not in result.output


def test_explain_shows_thresholds_and_how_to_change_them():
    text = run("explain", "unscaled_inputs").output
    assert "Thresholds" in text
    assert "Source: " in text
    assert re.search(r"UnscaledInputs\(\w+=", text)


def test_explain_offers_close_matches():
    result = run("explain", "single-softmax")
    assert result.exit_code == 2
    assert "Did you mean single_unit_softmax" in result.output


def test_diagnose_prints_the_report_and_exits_by_it(bad, good):
    result = run("diagnose", bad)
    assert result.exit_code == 1
    assert "non_finite_loss" in result.output
    result = run("diagnose", good)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("✔ LossDoctor: Nothing to fix")


def test_diagnose_reads_records_too(tmp_path):
    history_record(loss=[1.0, np.nan]).save(tmp_path / "run.lossdoctor")
    assert run("diagnose", tmp_path / "run.lossdoctor").exit_code == 1


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("json", "{"),
        ("markdown", "# LossDoctor"),
        ("html", "<!doctype html>"),
        ("github", "::error"),
        ("text", "LossDoctor: this history"),
    ],
)
def test_diagnose_in_every_format(bad, form, start):
    result = run("diagnose", bad, "--format", form)
    assert result.exit_code == 1
    assert result.output.startswith(start)


def test_output_goes_to_a_file_in_the_format_of_its_suffix(bad, tmp_path):
    result = run("diagnose", bad, "-o", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert result.exit_code == 1
    assert result.output == ""
    assert json.loads((tmp_path / "r.json").read_text())["ok"] is False
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert run("diagnose", bad, "-o", tmp_path / "r.pdf").exit_code == 2
    assert run("diagnose", bad, "-o", tmp_path / "no" / "r.json").exit_code == 2


def test_ignore_leaves_a_rule_out_and_refuses_unknown_ones(bad):
    assert "Ignored (1): loss_plateau" in run("diagnose", bad, "--ignore", "loss_plateau").output
    for paths in ([bad], [bad, bad]):
        result = run("diagnose", *paths, "--ignore", "nonsense")
        assert result.exit_code == 2
        assert "names no rule: 'nonsense'" in result.output


def test_unreadable_input_exits_2_with_one_paragraph(tmp_path):
    path = tmp_path / "odd.txt"
    path.write_text("hello\n")
    result = run("diagnose", path)
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
    assert run("diagnose", tmp_path / "missing.csv").exit_code == 2


def test_many_runs_make_one_table(bad, good, tmp_path):
    result = run("diagnose", good, bad)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert "bad.csv" in lines[1]
    assert "good.json" in lines[2]
    assert lines[-1] == "2 runs: 1 error, 1 ok"
    assert run("diagnose", good, good).exit_code == 0
    assert run("diagnose", tmp_path).output == result.output


def test_many_runs_with_an_unreadable_one_exit_2(bad, tmp_path):
    odd = tmp_path / "odd.txt"
    odd.write_text("hello\n")
    result = run("diagnose", bad, odd, "--format", "json")
    assert result.exit_code == 2
    assert [r["verdict"] for r in json.loads(result.output)["runs"]] == ["error", "unreadable"]


def test_many_runs_in_parallel_give_the_same_as_one_by_one(bad, good, monkeypatch):
    from lossdoctor.sources import many

    one_by_one = run("diagnose", *[good, bad] * 4).output
    monkeypatch.setattr(many, "_PARALLEL_FROM", 2)
    assert run("diagnose", *[good, bad] * 4).output == one_by_one


def test_demo_lists_the_cases_without_tensorflow():
    text = run("demo", "--list").output
    assert "regression-mse/features-x1000" in text
    assert "none, healthy" in text


def test_demo_offers_close_matches():
    result = run("demo", "--case", "regression-mse/feature-x1000")
    assert result.exit_code == 2
    assert "'regression-mse/features-x1000'" in result.output


@pytest.mark.train
def test_demo_shows_both_reports_and_the_cure(tmp_path):
    record = tmp_path / "demo.lossdoctor"
    result = run("demo", "--record", record)
    assert result.exit_code == 0, result.output
    text = result.output
    assert text.index("Unscaled inputs") < text.index("healthy twin:") < text.index("final loss")
    assert "✔ LossDoctor: Nothing to fix" in text
    assert "after the first remedy" in text
    assert run("diagnose", record).exit_code == 1


# check --------------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    import keras

    folder = tmp_path_factory.mktemp("models")
    for name, activation in (("good", "sigmoid"), ("bad", "softmax")):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(8, activation="relu"),
                keras.layers.Dense(1, activation=activation),
            ]
        )
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        model.save(folder / f"{name}.keras")
    unsafe = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x)])
    unsafe.compile("adam", "mse")
    unsafe.save(folder / "unsafe.keras")
    return folder


@pytest.fixture
def data(tmp_path):
    np.savez(tmp_path / "data.npz", X=X[20:], y=Y[20:], X_val=X[:20], y_val=Y[:20])
    return tmp_path / "data.npz"


def test_check_reads_npz(models, data):
    result = run("check", models / "bad.keras", "--data", data)
    assert result.exit_code == 1, result.output
    assert "✖ ERROR  Softmax over a single unit" in result.output
    assert run("check", models / "good.keras", "--data", data).exit_code == 0


def test_check_rehearses_unless_told_not_to(models, data):
    arguments = ("check", models / "good.keras", "--data", data, "--format", "json")
    assert "switched off by rehearse=False" not in run(*arguments).output
    assert "switched off by rehearse=False" in run(*arguments, "--no-rehearse").output


def table(path, form):
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "label": Y}
    if form == "csv":
        rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values()))]
        path.write_text("\n".join(rows) + "\n")
    else:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_check_reads_tables(models, tmp_path, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = table(tmp_path / f"data.{form}", form)
    result = run("check", models / "bad.keras", "--data", path, "--target", "label")
    assert result.exit_code == 1, result.output
    result = run("check", models / "bad.keras", "--data", path)
    assert result.exit_code == 2
    assert "Its columns: a, b, c, label" in result.output
    result = run("check", models / "bad.keras", "--data", path, "--target", "nope")
    assert result.exit_code == 2


def test_check_refuses_what_it_would_have_to_execute(models, data, tmp_path):
    result = run("check", models / "unsafe.keras", "--data", data)
    assert result.exit_code == 2
    assert "check_config(model, y, x=x)" in result.output
    np.savez(tmp_path / "objects.npz", x=X, y=np.array([{"a": 1}] * 60, dtype=object))
    result = run("check", models / "good.keras", "--data", tmp_path / "objects.npz")
    assert result.exit_code == 2
    assert "without running code" in result.output
    (tmp_path / "old.h5").write_bytes(b"\x89HDF")
    result = run("check", tmp_path / "old.h5", "--data", data)
    assert result.exit_code == 2
    assert "model.save('model.keras')" in result.output


def test_check_says_what_is_wrong_with_its_files(models, data, tmp_path):
    cases = {
        "empty.npz": b"",
        "text.csv": b"a,label\nx,1\n",
        "ragged.csv": b"a,label\n1,1\n2\n",
        "short.csv": b"a,label\n",
        "data.txt": b"1 2 3",
        "broken.parquet": b"PAR1",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        result = run("check", models / "good.keras", "--data", tmp_path / name, "--target", "label")
        assert result.exit_code == 2, name
        assert name in result.output
        assert "Traceback" not in result.output
    np.savez(tmp_path / "unnamed.npz", X)
    result = run("check", models / "good.keras", "--data", tmp_path / "unnamed.npz")
    assert "holds the arrays arr_0" in result.output
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    assert run("check", tmp_path / "broken.keras", "--data", data).exit_code == 2
