import dataclasses

import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    layer,
    learned,
    mlp,
    outcome_of,
    weighted,
)

SLUG = "missing_hidden_activation"
LABELS = np.array([0, 1] * 50)


def found(model, **fields):
    return findings_of(SLUG, config_record(model=model, y=LABELS, **fields))


def test_fires_on_a_single_hidden_layer_without_activation():
    (finding,) = found(mlp(hidden=((50, "linear"),), activation="sigmoid"))
    assert finding.severity is Severity.WARNING
    assert "can only learn a linear function of its inputs" in finding.message
    assert finding.layers == ("dense",)
    assert '"dense": {"activation": "relu"}' in finding.remedies[0].code


def test_proposes_the_activation_the_other_layers_have():
    (finding,) = found(mlp(hidden=((50, "tanh"), (60, "linear"))))
    assert "do no more than one of them could" in finding.message
    assert '"dense_1": {"activation": "tanh"}' in finding.remedies[0].code


def test_counts_every_pair():
    (finding,) = found(mlp(hidden=((50, "linear"), (50, "linear"))))
    assert "and in 1 more place" in finding.message
    assert finding.measurements[0].value == 2


def test_silent_on_usual_networks():
    embedding = weighted(layer("embedding", "Embedding"), 1000, 16, name="embeddings")
    for model in (
        mlp(),
        mlp(hidden=()),
        mlp(hidden=((32, "relu"), (2, "linear"), (32, "relu"))),
        chain(embedding, layer("mean", "GlobalAveragePooling1D"), dense("head", 1, 16)),
        chain(
            dense("a", 9, 20),
            layer("b", "BatchNormalization"),
            layer("c", "ReLU"),
            dense("d", 1, 9),
        ),
    ):
        assert found(model) == ()


def test_a_run_that_solved_a_linear_task_makes_it_information():
    record = config_record(model=mlp(hidden=((50, "linear"),)), y=LABELS)
    (finding,) = findings_of(SLUG, learned(record, 0.96))
    assert finding.severity is Severity.INFO
    assert "For this task that is enough" in finding.message
    assert findings_of(SLUG, learned(record, 0.94))[0].severity is Severity.WARNING


def test_not_applicable_without_a_graph():
    subclassed = dataclasses.replace(mlp(), graph_known=False, kind="subclassed")
    assert outcome_of(SLUG, config_record(model=subclassed)).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def on_xor(hidden=(), **probes):
    record = config_record(
        model=mlp(inputs=2, hidden=hidden, activation="sigmoid"),
        loss="binary_crossentropy",
        x=XOR,
        y=XOR.sum(axis=1) % 2,
        probes=probes,
    )
    return findings_of(SLUG, record)


def test_a_model_without_hidden_layer_before_a_task_no_line_solves():
    (finding,) = on_xor(linear_fit=0.0)
    assert finding.severity is Severity.ERROR
    assert "has no hidden layer" in finding.message
    assert "the best one explains 0% of these targets" in finding.message
    assert 'keras.layers.Dense(32, activation="relu")' in finding.remedies[0].code
    (finding,) = on_xor(((8, "linear"),), linear_fit=0.0)
    assert finding.severity is Severity.ERROR
    assert "'dense' and 'dense_1'" in finding.message


def test_a_line_may_be_enough_and_a_non_linear_model_is_not_asked():
    assert not on_xor()
    assert not on_xor(linear_fit=0.26)
    assert not on_xor(((8, "tanh"),), linear_fit=0.0)


def test_tables_need_a_simple_model_that_does_better():
    x = np.random.default_rng(0).normal(size=(100, 2))
    model = mlp(inputs=2, hidden=(), activation="sigmoid")

    def of(signal, share=None):
        probes = {"linear_fit": 0.02, "signal": signal}
        record = config_record(model=model, x=x, y=x[:, 0] * x[:, 1] > 0, probes=probes)
        return findings_of(SLUG, record if share is None else learned(record, share))

    assert of(0.28)
    assert not of(0.26)
    assert of(0.8, share=0.4)
    assert not of(0.8, share=0.6)


def test_convolutions_with_nothing_but_max_pooling_between_them():
    one = weighted(layer("one", "Conv2D", activation="linear", filters=8), 3, 3, 1, 8)
    two = weighted(layer("two", "Conv2D", activation="linear", filters=8), 3, 3, 8, 8)
    pool, flat = layer("pool", "MaxPooling2D"), layer("flat", "Flatten")
    model = chain(one, pool, two, layer("more", "MaxPooling2D"), flat, dense("head", 1, 50))
    (finding,) = findings_of("missing_hidden_activation", config_record(model=model))
    assert finding.severity is Severity.WARNING
    assert finding.layers == ("one", "two")
    assert '"two": {"activation": "relu"}' in finding.remedies[0].code
    solved = learned(config_record(model=model), 0.97)
    (finding,) = findings_of("missing_hidden_activation", solved)
    assert finding.severity is Severity.INFO
