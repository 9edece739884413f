import dataclasses

import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import ActivationRecord, OptimizerRecord, RunRecord
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    learned,
    mlp,
    outcome_of,
    run_record,
    variables,
)

SLUG = "excessive_regularization"
Y = [0, 1] * 20


def penalized(**factors):
    hidden = dense("a", 25, 20, activation="relu")
    kernel, bias = hidden.weights
    hidden = dataclasses.replace(hidden, weights=(dataclasses.replace(kernel, **factors), bias))
    return config_record(model=chain(hidden, dense("head", 1, 25)), y=Y)


def run(remaining, **factors):
    base = penalized(**factors)
    norms = np.linspace(1.0, remaining, 64)[:, None]
    norms[-10:] = remaining
    return run_record(base, variables=variables(base.model, weight_norm=norms))


def test_factors_no_task_bears():
    (finding,) = findings_of(SLUG, penalized(l2=1.0))
    assert finding.severity is Severity.WARNING
    assert finding.message == "The penalty of 'a' has a factor of 1."
    assert '"kernel_regularizer": keras.regularizers.L2(0.0001)' in finding.remedies[0].code
    (finding,) = findings_of(SLUG, penalized(l1=0.5))
    assert "keras.regularizers.L1(0.0001)" in finding.remedies[0].code


def test_threshold_and_usual_factors():
    for factor in (0.0001, 0.001, 0.01, 0.03):
        assert findings_of(SLUG, penalized(l2=factor)) == ()
    assert len(findings_of(SLUG, penalized(l2=0.031))) == 1


def test_a_kernel_that_vanished_under_a_usual_factor():
    (finding,) = findings_of(SLUG, run(0.001, l2=0.03))
    assert "left 0.1% of the kernel's norm" in finding.message
    assert findings_of(SLUG, run(0.06, l2=0.03)) == ()


def test_a_run_that_learned_makes_it_information():
    assert findings_of(SLUG, learned(penalized(l2=0.3), 0.8))[0].severity is Severity.INFO


def test_not_applicable_without_a_penalty():
    assert outcome_of(SLUG, config_record(model=mlp(), y=Y)).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def run_with_penalized_outputs(size):
    hidden = dense("a", 25, 20, activation="relu")
    hidden = dataclasses.replace(hidden, config={**hidden.config, "activity_regularizer": "L1"})
    base = config_record(model=chain(hidden, dense("head", 1, 25)), y=Y, x=np.ones((40, 20)))
    outputs = ActivationRecord(layer="a", activation="relu", rows=40, mean=size, std=0.0)
    return dataclasses.replace(run_record(base), activations=(outputs,))


def test_outputs_that_their_penalty_silenced():
    (finding,) = findings_of(SLUG, run_with_penalized_outputs(0.001))
    assert finding.layers == ("a",)
    assert "keeps its outputs at 0.001 times the size of what it reads" in finding.message
    assert '"activity_regularizer": keras.regularizers.L1' in finding.remedies[0].code
    assert findings_of(SLUG, run_with_penalized_outputs(0.06)) == ()
    assert findings_of(SLUG, learned(run_with_penalized_outputs(0.001), 0.8)) == ()


def test_penalized_outputs_before_training_say_nothing():
    base = run_with_penalized_outputs(0.001)
    assert findings_of(SLUG, dataclasses.replace(base, source="config", activations=())) == ()


def test_weight_decay_on_top_of_a_penalty_is_information():
    decayed = OptimizerRecord(class_name="AdamW", learning_rate=0.001, weight_decay=0.004)
    (finding,) = findings_of(SLUG, dataclasses.replace(penalized(l2=0.001), optimizer=decayed))
    assert finding.severity is Severity.INFO
    assert findings_of(SLUG, dataclasses.replace(penalized(l1=0.001), optimizer=decayed)) == ()
