import dataclasses

import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.batch_labels import BatchLabels
from lossdoctor.record.run import FitRecord, RunRecord, TargetPairing
from tests.records import config_record, findings_of, outcome_of

SLUG = "ordered_data"
RNG = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], 50)


def record(y=Y, *, ends=None, batches=None, validation=None, **fit):
    base = config_record(y=y, fit=FitRecord(**fit), loss="sparse_categorical_crossentropy")
    if validation is not None:
        validated = config_record(y=y, validation=(None, validation))
        base = dataclasses.replace(base, validation=validated.validation)
    train = dataclasses.replace(
        base.train, head_tail_classes=ends, single_class_batches=batches, batch_size=32
    )
    return dataclasses.replace(base, train=train)


def test_sorted_labels_whose_tail_validates():
    (finding,) = findings_of(SLUG, record(ends=((0.0,), (2.0,)), validation_split=0.2))
    assert finding.severity is Severity.ERROR
    assert "begins with class 0 and ends with class 2, and validation_split" in finding.message
    names = {"X": np.arange(150), "y": Y, "np": np}
    exec(finding.remedies[0].code, names)
    assert np.all(names["X"] // 50 == names["y"])
    assert len(set(names["y"][:30])) == 3


def test_sorted_labels_unshuffled():
    (finding,) = findings_of(SLUG, record(ends=((0.0,), (1.0, 2.0)), shuffle=False))
    assert "classes 1, 2, and shuffle=False" in finding.message
    assert "shuffle = True" in finding.remedies[0].code


def test_batches_of_one_class():
    (finding,) = findings_of(SLUG, record(batches=0.9))
    assert "90% more of the batches" in finding.message
    assert findings_of(SLUG, record(batches=0.5)) == ()


def test_a_rare_class_is_absent_from_most_batches_by_chance():
    rare = np.array([1] * 5 + [0] * 495)
    assert findings_of(SLUG, record(rare, batches=0.75)) == ()


def test_validation_rows_without_classes_training_has():
    (finding,) = findings_of(SLUG, record(validation=np.full(50, 2)))
    assert "No validation row has classes 0, 1" in finding.message
    assert findings_of(SLUG, record(validation=np.tile([0, 1, 2], 20))) == ()
    assert findings_of(SLUG, record(validation=np.full(10, 2))) == ()


def test_silent_where_order_does_not_matter():
    assert findings_of(SLUG, record(ends=((0.0,), (2.0,)), shuffle=True)) == ()
    assert findings_of(SLUG, record(ends=((0.0, 1.0), (1.0, 2.0)), validation_split=0.2)) == ()


def test_not_applicable_to_quantities():
    quantities = record(np.linspace(0, 1, 100), validation_split=0.2)
    assert outcome_of(SLUG, quantities).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_of_many_rare_values_some_are_absent_by_chance():
    counts = np.random.default_rng(3).poisson(np.random.default_rng(4).gamma(2, 12, size=1000))
    assert findings_of(SLUG, record(counts[:750], validation=counts[750:])) == ()
    apart = np.sort(counts)
    assert len(findings_of(SLUG, record(apart[:500], validation=apart[500:]))) == 1


def mixed(correlation, **fields):
    base = record()
    train = dataclasses.replace(base.train, batch_correlation=correlation)
    return dataclasses.replace(base, train=train, **fields)


def test_batches_of_few_classes_come_from_a_small_shuffle_buffer():
    (finding,) = findings_of(SLUG, mixed(0.6))
    assert finding.severity is Severity.ERROR
    assert "a buffer of .shuffle smaller than the data" in finding.message
    assert not findings_of(SLUG, mixed(0.1))
    assert not findings_of(SLUG, mixed(None))


def batches_of(y, size=32):
    labels = BatchLabels()
    for start in range(0, len(y) - size + 1, size):
        labels.update([y[start : start + size]])
    return labels.correlation()


def buffered(y, size):
    """`tf.data`'s shuffle with a buffer."""
    waiting, out = list(y[:size]), []
    for following in y[size:]:
        place = RNG.integers(size)
        out.append(waiting[place])
        waiting[place] = following
    return np.array(out + waiting)


def test_the_correlation_tells_sorted_rows_behind_a_small_buffer_from_shuffled_ones():
    y = np.repeat(np.arange(10), 160)
    assert batches_of(y) == 1.0
    assert batches_of(np.eye(10)[y]) == 1.0
    assert 0.4 < batches_of(buffered(y, 100)) < 0.9
    for _ in range(20):
        assert batches_of(RNG.permutation(y)) == 0.0
        assert batches_of((RNG.random(1600) < 0.05).astype(int)) == 0.0
    assert batches_of(RNG.normal(size=1600)) is None
    assert batches_of(y[:100]) is None


def test_classes_absent_from_validation_say_little_where_nothing_is_sorted_or_harmed():
    mixed = ((0.0, 1.0, 2.0), (0.0, 1.0, 2.0))
    (finding,) = findings_of(SLUG, record(ends=mixed, validation=np.full(50, 2)))
    assert finding.severity is Severity.INFO
    base = record(validation=np.full(50, 2))
    right = TargetPairing(output=0, rows=50, error_rate=0.02, chance_error_rate=0.5)
    validation = dataclasses.replace(base.validation, pairing=(right,))
    (finding,) = findings_of(SLUG, dataclasses.replace(base, validation=validation))
    assert finding.severity is Severity.INFO


def test_classes_that_were_renamed_are_not_sorted():
    probes = {
        "signal": 0.9,
        "signal_rows": 500.0,
        "minority_rows": 250.0,
        "fold_error": 0.02,
        "validation_error": 0.9,
        "validation_error_rows": 200.0,
    }
    base = record(validation=np.full(50, 2))
    assert findings_of(SLUG, dataclasses.replace(base, probes=probes)) == ()
