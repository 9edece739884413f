import dataclasses

import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import OptimizerRecord, RunRecord
from tests.records import chain, config_record, dense, findings_of, mlp, outcome_of

SLUG = "too_few_examples"
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(1000, 20))


def record(rows, x=X, y=None, validated=True, **fields):
    y = x[:rows, 0] if y is None else y[:rows]
    validation = (x[:50], x[:50, 0]) if validated else None
    return config_record(x=x[:rows], y=y, validation=validation, **fields)


def test_fewer_examples_than_features():
    (finding,) = findings_of(SLUG, record(12))
    assert finding.severity is Severity.WARNING
    assert finding.message == "There are 12 examples, 0.6 for each feature, for 551 parameters."


def test_fewer_than_five_examples_per_class():
    fields = {"loss": "sparse_categorical_crossentropy"}
    fields["model"] = mlp(units=10, hidden=((50, "relu"),), activation="softmax")
    (finding,) = findings_of(SLUG, record(40, y=np.arange(1000) % 10, **fields))
    assert "4 for each class" in finding.message
    assert findings_of(SLUG, record(50, y=np.arange(1000) % 10, **fields)) == ()


def test_fewer_than_thirty_in_all_unless_there_is_hardly_anything_to_tell_apart():
    wide, narrow = np.random.default_rng(0).normal(size=(40, 4)), np.linspace(-1, 1, 40)[:, None]
    model = chain(dense("a", 64, 4), dense("head", 1, 64), inputs=4)
    (finding,) = findings_of(SLUG, record(29, x=wide, model=model))
    assert "29 examples, too few to tell a rule from an accident" in finding.message
    assert findings_of(SLUG, record(30, x=wide, model=model)) == ()
    curve = chain(dense("a", 64, 1), dense("head", 1, 64), inputs=1)
    assert findings_of(SLUG, record(20, x=narrow, model=curve)) == ()


def test_silent_with_enough_examples_or_few_parameters():
    assert findings_of(SLUG, record(30)) == ()
    assert findings_of(SLUG, record(12, model=chain(dense("head", 1, 20)))) == ()


def test_without_validation_it_is_information():
    (finding,) = findings_of(SLUG, record(12, validated=False))
    assert finding.severity is Severity.INFO


def test_not_applicable_to_complete_patterns_and_trained_weights():
    xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    outcome = outcome_of(SLUG, config_record(x=xor, y=[0, 1, 1, 0], model=mlp(inputs=2)))
    assert "few discrete patterns" in outcome.reason
    trained = OptimizerRecord(class_name="Adam", learning_rate=1e-3, iterations=9)
    assert outcome_of(SLUG, record(12, optimizer=trained)).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def read(x, batch_size=32, batches=32):
    base = record(len(x), x=x, validated=False)
    train = dataclasses.replace(base.train, batch_size=batch_size, batches=batches)
    return dataclasses.replace(base, train=train)


def test_the_same_batch_over_and_over():
    (finding,) = findings_of(SLUG, read(np.tile(X[:32], (31, 1))))
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith("Of 992 examples read, 32 are different")


def test_repeated_data_and_narrow_tables_are_no_repeated_batch():
    assert not findings_of(SLUG, read(np.tile(X[:200], (5, 1))))
    doses = np.repeat(np.arange(10.0), 100)[:, None]
    assert not findings_of(SLUG, read(doses))
    states = read(np.tile(X[:32], (31, 1)))
    returns = config_record(y=np.random.default_rng(1).normal(size=992)).train.targets
    states = dataclasses.replace(states, train=dataclasses.replace(states.train, targets=returns))
    assert not findings_of(SLUG, states)
    assert not findings_of(SLUG, read(X))
