import dataclasses

import numpy as np

from lossdoctor.record.run import RunRecord
from tests.records import config_record, findings_of, layer, mlp, outcome_of, weighted

SLUG = "label_noise"
X = np.random.default_rng(0).normal(size=(300, 5))
CLEAN = {
    "signal": 0.6,
    "signal_rows": 512.0,
    "minority_rows": 341.0,
    "label_noise": 0.03,
    "label_noise_rows": 128.0,
    "contradicted": 0.3,
    "neighbor_error": 0.4,
    "conflicting_labels": 0.0,
    "fold_error": 0.19,
    "validation_error": 0.15,
    "validation_error_rows": 300.0,
}


def record(x=X, classes=3, **probes):
    return config_record(
        x=x,
        y=np.arange(300) % classes,
        probes={**CLEAN, **probes},
        model=mlp(units=classes, activation="softmax"),
        loss="sparse_categorical_crossentropy",
    )


def measured(**probes):
    return [m.name for f in findings_of(SLUG, record(**probes)) for m in f.measurements]


def test_labels_harder_to_predict_in_training_than_in_validation():
    (finding,) = findings_of(SLUG, record(fold_error=0.48, validation_error=0.3))
    assert finding.message == (
        "Neighbors mistake 18% more of the training labels than of the validation labels."
    )
    assert "KNeighborsClassifier" in finding.remedies[0].code


def test_labels_that_contradict_a_clear_neighborhood():
    moved = {"signal": 0.64, "label_noise": 0.2, "label_noise_rows": 512.0}
    assert measured(**moved, classes=10) == ["beyond overlap"]


def test_conflicts_count_for_continuous_inputs_only():
    assert measured(conflicting_labels=0.2) == ["conflicting"]
    whole = np.random.default_rng(0).integers(0, 9, size=(300, 5))
    assert measured(x=whole, conflicting_labels=0.2) == []


def test_silent_on_clean_labels_and_on_overlap_that_the_signal_explains():
    assert measured() == []
    assert measured(signal=0.27, label_noise=0.14) == []
    assert measured(signal=0.12, label_noise=0.27) == []
    assert measured(fold_error=0.19, validation_error=0.10) == []


def test_labels_that_a_simple_model_predicts_out_of_fold_are_not_wrong():
    # Measured on clean labels that depend on one or two of 30 columns: neighbors are hardly alike.
    assert measured(signal=0.95, label_noise=0.18, neighbor_error=0.21) == []
    assert measured(signal=0.72, label_noise=0.45, neighbor_error=0.42) == []
    # And on two columns with a fifth of the labels moved.
    fifth = {"signal": 0.34, "label_noise": 0.2, "contradicted": 0.24, "neighbor_error": 0.24}
    assert measured(**fifth) == ["evenness"]


def test_threshold_over_validation():
    rows = {"validation_error_rows": 2000.0, "signal_rows": 2000.0}
    assert measured(fold_error=0.2, validation_error=0.101, **rows) == []
    assert measured(fold_error=0.2, validation_error=0.099, **rows) == ["beyond validation"]


def test_a_small_validation_set_proves_nothing():
    assert measured(fold_error=0.3, validation_error=0.2, validation_error_rows=60.0) == []


def test_remedy_leaves_the_wrong_labels_out():
    from sklearn.datasets import make_blobs

    x, true = make_blobs(300, centers=3, cluster_std=1, random_state=2)
    random = np.random.default_rng(0)
    wrong = random.random(300) < 0.3
    labels = np.where(wrong, (true + 1) % 3, true)
    (finding,) = findings_of(SLUG, record(conflicting_labels=0.3))
    for y in (labels, np.eye(3)[labels]):
        names = {"X": x, "y": y, "np": np}
        exec(finding.remedies[0].code, names)
        kept = names["keep"]
        assert np.mean(labels[kept] == true[kept]) > 0.95
        assert len(names["X"]) == len(names["y"]) == kept.sum()


POOLED = {
    "signal_rows": 512.0,
    "minority_rows": 341.0,
    "pooled_fold_error": 0.36,
    "pooled_validation_error": 0.08,
    "pooled_validation_error_rows": 200.0,
}


def pictures(**probes):
    return dataclasses.replace(record(), probes={**POOLED, **probes})


def test_labels_of_images_are_held_against_validation():
    (finding,) = findings_of(SLUG, pictures())
    assert finding.message.startswith("Simple models mistake 28% more of the training labels")
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    names = {"X": random.normal(size=(200, 4, 4, 1)) + labels[:, None, None, None], "np": np}
    names["y"] = np.where(random.random(200) < 0.2, 1 - labels, labels)
    exec(finding.remedies[0].code, names)
    assert np.mean(names["y"] == labels[names["keep"]]) > 0.95


def test_silent_on_images_whose_labels_are_as_hard_in_validation_or_copied_into_it():
    assert findings_of(SLUG, pictures(pooled_validation_error=0.3)) == ()
    copied = pictures(validation_overlap=0.4)
    assert findings_of(SLUG, copied) == ()
    assert "known by heart" in outcome_of(SLUG, copied).reason


def test_labels_of_texts_are_judged_by_their_words():
    embedding = weighted(layer("words", "Embedding"), 50, 4, name="embeddings")
    model = mlp(units=3, activation="softmax")
    model = dataclasses.replace(model, layers=(*model.layers, embedding))
    text = dataclasses.replace(pictures(), model=model)
    (finding,) = findings_of(SLUG, text)
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 150)
    words = random.integers(10, 40, (300, 12))
    words[:, :4] = 2 + 2 * labels[:, None] + random.integers(0, 2, (300, 4))
    names = {"X": words, "np": np, "y": np.where(random.random(300) < 0.2, 1 - labels, labels)}
    exec(finding.remedies[0].code, names)
    assert np.mean(names["y"] == labels[names["keep"]]) > 0.95


def test_counts_are_no_classes():
    counts = config_record(x=X, y=np.arange(300) % 3, probes=CLEAN, loss="poisson")
    assert "not one for classes" in outcome_of(SLUG, counts).reason


def test_not_applicable_without_probes():
    assert outcome_of(SLUG, config_record(x=X, y=X[:, 0])).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_labels_wrong_wherever_they_lie_are_no_overlap():
    """Rings with a quarter of the labels moved: the weak signal is their own doing."""
    rings = {"signal": 0.29, "label_noise": 0.23, "minority_rows": 246.0}
    assert measured(**rings, contradicted=0.23, neighbor_error=0.23) == ["evenness"]
    assert measured(**rings, contradicted=0.23, neighbor_error=0.33) == []
    assert measured(**rings, contradicted=0.4, neighbor_error=0.23) == []
    even = rings | {"label_noise": 0.25, "contradicted": 0.25}
    assert measured(**even, neighbor_error=0.25) == []
