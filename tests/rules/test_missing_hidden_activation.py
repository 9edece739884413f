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
    assert "and in 1 more places" in finding.message
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
