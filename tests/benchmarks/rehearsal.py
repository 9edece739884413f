"""How often `check_config` foresees divergence: `python -m tests.benchmarks.rehearsal`.

Draws random set-ups (task, scales, architecture, optimizer, learning rate, batch size), asks
`check_config(model, y, x=X)` whether the learning rate is unstable, trains for five epochs and
compares. A training diverged when its loss stopped being finite, or when the last epoch's loss
stands above the initial one and above that of the best constant prediction by more than a tenth of
that loss: it made the model worse than knowing nothing. (Between 0 and a tenth above lie the
trainings that learn nothing, on either side of 0 by the draw of their batches.) Where the rule
proposes a lower rate the same model is trained at that rate; it trains when its last epoch's loss
is below the initial one.

    python -m tests.benchmarks.rehearsal --configurations 300 --seed 3 --output results.jsonl

Set-ups that stand in `--output` already are not run again: an interrupted benchmark goes on where
it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lossdoctor.check import check_config
from lossdoctor.evidence.rehearsal import RehearsedTraining

EPOCHS = 5
MARGIN = 0.1
ACTIVATIONS = ("relu", "relu", "relu", "tanh", "sigmoid", "elu", "gelu", "linear")


def configuration(seed: int, number: int) -> dict[str, Any]:
    """Draw one set-up."""
    rng = np.random.default_rng([seed, number])
    kind = rng.choice(["dense", "dense", "dense", "dense", "dense", "dense", "conv", "lstm"])
    task = rng.choice(["regression", "regression", "binary", "classes"])
    optimizer = rng.choice(["SGD", "momentum", "nesterov", "Adam", "RMSprop", "Adagrad"])
    return {
        "number": number,
        "seed": seed,
        "kind": str(kind),
        "task": str(task),
        "rows": int(np.exp(rng.uniform(np.log(60), np.log(1000)))),
        "features": int(rng.integers(2, 40)),
        "x_scale": float(10 ** rng.uniform(-1, 3)) if rng.random() < 0.25 else 1.0,
        "x_offset": float(rng.uniform(0, 3)) if rng.random() < 0.2 else 0.0,
        "y_scale": float(10 ** rng.uniform(-2, 3)) if rng.random() < 0.3 else 1.0,
        "noise": float(rng.choice([0.0, 0.1, 1.0])),
        "loss": str(rng.choice(["mse", "mse", "mse", "mae", "huber"])),
        "classes": int(rng.integers(3, 11)),
        "width": int(np.exp(rng.uniform(np.log(4), np.log(257)))),
        "depth": int(rng.integers(0, 7)) if kind == "dense" else int(rng.integers(1, 3)),
        "activation": str(rng.choice(ACTIVATIONS)),
        "initializer": str(rng.choice(["glorot_uniform", "he_normal"])),
        "normalized": bool(rng.random() < 0.15),
        "dropout": float(rng.choice([0.2, 0.5])) if rng.random() < 0.15 else 0.0,
        "optimizer": str(optimizer),
        "momentum": float(rng.choice([0.5, 0.9, 0.9, 0.99])),
        "rate": float(10 ** rng.uniform(-5, 1)),
        "batch_size": int(np.exp(rng.uniform(np.log(8), np.log(257)))),
    }


def data(c: dict[str, Any]) -> tuple[Any, Any]:
    """Inputs and targets: a random teacher on correlated features."""
    rng = np.random.default_rng([c["seed"], c["number"], 1])
    steps = 12 if c["kind"] != "dense" else 1
    shape = (c["rows"], steps, c["features"])
    x = rng.normal(size=shape) @ rng.normal(size=(c["features"],) * 2) / c["features"] ** 0.5
    flat = x.reshape(len(x), -1)
    outputs = c["classes"] if c["task"] == "classes" else 1
    hidden = np.tanh(flat @ rng.normal(size=(flat.shape[1], 16)) / flat.shape[1] ** 0.5 * 2)
    score = hidden @ rng.normal(size=(16, outputs))
    score = (score - score.mean(axis=0)) / score.std(axis=0)
    score += c["noise"] * rng.normal(size=score.shape)
    x = (x + c["x_offset"]) * c["x_scale"]
    x = (x if c["kind"] != "dense" else x[:, 0]).astype("float32")
    if c["task"] == "regression":
        return x, (c["y_scale"] * score[:, 0]).astype("float32")
    if c["task"] == "binary":
        return x, (score[:, 0] > 0).astype("int32")
    return x, score.argmax(axis=1).astype("int32")


def model_of(c: dict[str, Any], shape: tuple[int, ...], rate: float) -> keras.Model:
    """The compiled model at `rate`; each call draws the same weights."""
    keras.utils.set_random_seed(1000 * c["seed"] + c["number"])
    model = keras.Sequential([keras.Input(shape)])
    settings = {"activation": c["activation"], "kernel_initializer": c["initializer"]}
    for level in range(c["depth"]):
        if c["kind"] == "conv":
            model.add(layers.Conv1D(min(c["width"], 64), 3, padding="same", **settings))
        elif c["kind"] == "lstm":
            model.add(layers.LSTM(min(c["width"], 48), return_sequences=level < c["depth"] - 1))
        else:
            model.add(layers.Dense(c["width"], **settings))
        if c["normalized"]:
            model.add(layers.BatchNormalization())
        if c["dropout"]:
            model.add(layers.Dropout(c["dropout"]))
    if c["kind"] == "conv":
        model.add(layers.GlobalAveragePooling1D())
    units = c["classes"] if c["task"] == "classes" else 1
    head = {"regression": "linear", "binary": "sigmoid", "classes": "softmax"}[c["task"]]
    model.add(layers.Dense(units, activation=head))
    losses = {"binary": "binary_crossentropy", "classes": "sparse_categorical_crossentropy"}
    model.compile(optimizer_of(c, rate), losses.get(c["task"], c["loss"]))
    return model


def optimizer_of(c: dict[str, Any], rate: float) -> keras.optimizers.Optimizer:
    if c["optimizer"] in ("momentum", "nesterov"):
        nesterov = c["optimizer"] == "nesterov"
        return keras.optimizers.SGD(rate, momentum=c["momentum"], nesterov=nesterov)
    return getattr(keras.optimizers, c["optimizer"])(learning_rate=rate)


def run(c: dict[str, Any]) -> dict[str, Any]:
    """Predict and train one set-up."""
    x, y = data(c)

    def losses(rate: float, epochs: int = EPOCHS) -> list[float]:
        model = model_of(c, x.shape[1:], rate)
        fitted = model.fit(x, y, batch_size=c["batch_size"], epochs=epochs, verbose=0)
        return [float(loss) for loss in fitted.history["loss"]]

    model = model_of(c, x.shape[1:], c["rate"])
    report = check_config(model, y, x=x, batch_size=c["batch_size"], epochs=EPOCHS)
    found = {finding.rule for finding in report.findings}
    predicted = "unstable_learning_rate" in found
    rehearsed = RehearsedTraining.from_record(report.record) if predicted else None
    proposed = rehearsed.proposed_rate if rehearsed else None
    return {
        "configuration": c,
        "initial": losses(0.0, epochs=1)[0],
        "baseline": report.record.losses[0].baseline,
        "losses": losses(c["rate"]),
        "predicted": predicted,
        "other_rules": sorted(found - {"unstable_learning_rate"}),
        "not_rehearsed": report.record.not_recorded.get("the rehearsal"),
        "proposed": proposed,
        "proposed_losses": losses(proposed) if proposed else None,
        "calm_rate": rehearsed.calm_rate if rehearsed else None,
        "curvature_rate": rehearsed.curvature_rate if rehearsed else None,
    }


def diverged(result: dict[str, Any], losses: list[float]) -> bool:
    """Whether a training with these epoch losses made the model worse than knowing nothing."""
    reference = max(result["initial"], result["baseline"])
    return not np.isfinite(losses[-1]) or losses[-1] > (1 + MARGIN) * reference


def print_summary(results: list[dict[str, Any]]) -> None:
    """Agreement, both kinds of error, and what became of the proposed rates."""
    truth = np.array([diverged(r, r["losses"]) for r in results])
    predicted = np.array([r["predicted"] for r in results])
    proposed = [r for r, d in zip(results, truth) if d and r["proposed"]]
    stable = [not diverged(r, r["proposed_losses"]) for r in proposed]
    trains = [r["proposed_losses"][-1] < r["initial"] for r in proposed]
    learned = np.array([r["losses"][-1] < 0.9 * r["initial"] for r in results])
    table = Table(box=None, show_header=False)
    for name, share, count in (
        ("prediction and outcome agree", np.mean(truth == predicted), len(truth)),
        ("diverged, not foreseen", np.mean(~predicted[truth]), truth.sum()),
        ("did not diverge, flagged", np.mean(predicted[~truth]), (~truth).sum()),
        ("learned (loss down by a tenth), flagged", np.mean(predicted[learned]), learned.sum()),
        ("proposed rate does not diverge", np.mean(stable), len(stable)),
        ("proposed rate trains", np.mean(trains), len(trains)),
    ):
        table.add_row(name, f"{share:.1%}", f"of {count}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--configurations", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON lines, one for each set-up")
    arguments = parser.parse_args()
    results: dict[int, dict[str, Any]] = {}
    if arguments.output and arguments.output.exists():
        for line in arguments.output.read_text().splitlines():
            result = json.loads(line)
            results[result["configuration"]["number"]] = result
    missing = [n for n in range(arguments.configurations) if n not in results]
    for number in track(missing, console=Console(stderr=True)):
        results[number] = run(configuration(arguments.seed, number))
        if arguments.output:
            with arguments.output.open("a") as file:
                file.write(json.dumps(results[number]) + "\n")
        keras.backend.clear_session(free_memory=False)
    print_summary([results[n] for n in range(arguments.configurations)])


if __name__ == "__main__":
    main()
