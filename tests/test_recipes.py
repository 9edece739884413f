"""The recipes of the README, run as they stand there."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import lossdoctor
from lossdoctor import LossDoctor
from lossdoctor.sources.files import read_path

README = Path(lossdoctor.__file__).parents[1] / "README.md"
pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(not README.exists(), reason="needs the repository"),
]


def recipe(word):
    """The code block of the README that holds `word`."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    (found,) = (block for block in blocks if word in block)
    return found.replace("epochs=30", "epochs=3, verbose=0")


def build_model(_=None, *, activation="sigmoid"):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation=activation)])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the recipes take for granted; files they write go to an empty folder."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
    return {
        "LossDoctor": LossDoctor,
        "keras": keras,
        "X": x,
        "y": (x[:, 0] > 0).astype("float32"),
        "build_model": build_model,
        "model": build_model(activation="softmax"),
    }


def test_optuna_prunes_what_cannot_become_right(names):
    optuna = names["optuna"] = pytest.importorskip("optuna")
    exec(recipe("optuna"), names)
    study = optuna.create_study()
    study.optimize(names["objective"], n_trials=1)
    names["build_model"] = lambda trial: build_model(activation="softmax")
    study.optimize(names["objective"], n_trials=1)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "PRUNED"]


def test_keras_tuner_copies_the_callback_for_each_trial(names):
    names["keras_tuner"] = pytest.importorskip("keras_tuner")
    code = recipe("keras_tuner").replace("max_trials=5", "max_trials=2")
    code = code.replace("validation_split=0.2", "validation_split=0.2, epochs=3, verbose=0")

    def build_tuned(hp):
        hp.Float("unused", 0.0, 1.0)
        return build_model(activation="softmax")

    names["build_model"] = build_tuned
    exec(code, names)
    assert len(names["tuner"].oracle.trials) == 2


def test_mlflow_keeps_the_verdict_and_the_page(names, monkeypatch, tmp_path):
    mlflow = names["mlflow"] = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    exec(recipe("mlflow"), names)
    (run,) = mlflow.search_runs(output_format="list")
    assert "Softmax over a single unit" in run.data.tags["lossdoctor"]
    (page,) = tmp_path.rglob("lossdoctor.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_weights_and_biases_keep_the_verdict_and_the_page(names, monkeypatch, tmp_path):
    names["wandb"] = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    exec(recipe("wandb"), names)
    (log,) = (path for path in tmp_path.rglob("*.wandb") if not path.is_symlink())
    assert b"cannot be right as it stands" in log.read_bytes()
    (page,) = tmp_path.rglob("*.html")
    assert "Softmax over a single unit" in page.read_text(encoding="utf-8")


def test_tensorboard_shows_the_doctors_curves(names, tmp_path):
    # Keras' own callback needs the tensorboard package, which TensorFlow no longer brings.
    code = recipe("keras.callbacks.TensorBoard").replace('TensorBoard("logs")', "History()")
    exec(code, names)
    (events,) = (tmp_path / "logs" / "lossdoctor").iterdir()
    assert len(read_path(events).history.logs["lossdoctor/gradient_norm"]) == 3
