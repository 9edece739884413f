import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import OptimizerRecord, RunRecord
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    history,
    layer,
    learned,
    mlp,
    outcome_of,
    weighted,
)

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 20))
Y = X[:, 0]
ADAM = OptimizerRecord(class_name="Adam", learning_rate=0.001)
SLUG = "unscaled_inputs"
TAIL = (dense("dense", 25, 20, activation="relu"), dense("head", 1, 25))


def found(x, model=None, **fields):
    fields.setdefault("optimizer", ADAM)
    return findings_of(SLUG, config_record(model=model or mlp(), x=x, y=Y, **fields))


def names(finding):
    return {measurement.name for measurement in finding.measurements}


def test_large_features_are_an_error_under_sgd_and_a_warning_under_adam():
    (finding,) = found(1000 * X, optimizer=OptimizerRecord(class_name="SGD", learning_rate=0.01))
    assert finding.severity is Severity.ERROR
    assert "root mean square" in finding.message
    assert names(finding) == {"root mean square", "curvature step"}
    assert finding.layers == ("dense",)
    (finding,) = found(1000 * X)
    assert finding.severity is Severity.WARNING


def test_clipped_sgd_takes_no_steps_that_grow_with_the_inputs():
    clipped = OptimizerRecord(class_name="SGD", learning_rate=0.01, clipnorm=1.0)
    (finding,) = found(1000 * X, optimizer=clipped)
    assert finding.severity is Severity.WARNING


def test_one_large_feature_is_named():
    x = X.copy()
    x[:, 3] *= 1e5
    (finding,) = found(x)
    assert {"root mean square", "unevenness"} <= names(finding)
    assert "feature number 3" in finding.message


def test_a_feature_far_below_the_others_counts_but_a_rare_one_does_not():
    pair = X[:, :2] * [1.0, 1e-3]
    (finding,) = found(pair, mlp(inputs=2))
    assert names(finding) == {"unevenness"}
    rare = np.where(RANDOM.random((400, 20)) < 0.01, 1.0, 0.0)
    rare[0] = 1.0
    assert found(rare) == ()


def test_inputs_far_off_center():
    (finding,) = found(X[:, :3] * 0.1 + 4, mlp(inputs=3))
    assert names(finding) == {"offset"}


def test_inputs_scaled_twice():
    (finding,) = found(RANDOM.random((400, 20)) / 255, mlp())
    assert names(finding) == {"smallest scale"}
    rescaled = chain(layer("rescaling", "Rescaling", scale=1 / 255, offset=0.0), *TAIL)
    (finding,) = found(RANDOM.random((400, 20)), rescaled)
    assert names(finding) == {"smallest scale"}
    assert found(255 * RANDOM.random((400, 20)), rescaled) == ()


@pytest.mark.parametrize(
    "x",
    [
        RANDOM.normal(size=(150, 4)) * [0.8, 0.4, 1.8, 0.8] + [5.8, 3.1, 3.8, 1.2],  # like iris
        RANDOM.integers(0, 17, size=(300, 64)),  # like the 8 × 8 digits
        RANDOM.poisson(0.2, size=(300, 50)),  # word counts
        np.eye(10)[RANDOM.integers(0, 10, 200)],
        RANDOM.random((300, 784)) * (RANDOM.random((300, 784)) < 0.2),  # like MNIST in [0, 1]
        RANDOM.normal(size=(300, 10)) * 0.05,  # unit-norm columns
        np.array([[0, 0], [0, 1], [1, 0], [1, 1]]),
    ],
)
def test_silent_on_inputs_that_train_as_they_are(x):
    assert found(x, mlp(inputs=x.shape[1])) == ()


@pytest.mark.parametrize("reader", ["Normalization", "BatchNormalization", "LayerNormalization"])
def test_not_applicable_behind_a_layer_that_rescales(reader):
    model = chain(layer("first", reader), *TAIL)
    outcome = outcome_of(SLUG, config_record(model=model, x=1000 * X, y=Y))
    assert outcome.status == "not_applicable"
    assert "'first' rescales it" in outcome.reason


def test_not_applicable_to_ids_backbones_and_unknown_layers():
    embedding = weighted(layer("embedding", "Embedding"), 5000, 16, name="embeddings")
    for model, reason in [
        (chain(embedding, layer("flat", "Flatten"), dense("head", 1, 320)), "looks its values up"),
        (chain(layer("own", "Lambda"), *TAIL), "not known"),
        (chain(dense("a", 9, 20, std=0.9, trainable=False), dense("head", 1, 9)), "frozen"),
    ]:
        outcome = outcome_of(SLUG, config_record(model=model, x=1000 * X, y=Y))
        assert outcome.status == "not_applicable"
        assert reason in outcome.reason


def test_a_layer_frozen_at_its_random_start_expects_what_fresh_weights_do():
    body = dense("a", 9, 20, trainable=False, kernel_initializer="GlorotUniform")
    record = config_record(model=chain(body, dense("head", 1, 9)), x=1000 * X, y=Y)
    assert len(findings_of(SLUG, record)) == 1


def test_not_applicable_to_weights_trained_before():
    trained = dataclasses.replace(ADAM, iterations=500)
    assert outcome_of(SLUG, config_record(x=1000 * X, y=Y, optimizer=trained)).status == (
        "not_applicable"
    )
    loaded = chain(dense("a", 25, 20, std=0.9), dense("head", 1, 25))
    assert "trained before" in outcome_of(SLUG, config_record(model=loaded, x=1000 * X)).reason


def test_a_normalization_behind_the_first_layer_makes_scale_information_only():
    model = chain(
        dense("a", 25, 20), layer("bn", "BatchNormalization"), layer("r", "ReLU"), TAIL[1]
    )
    (finding,) = found(1000 * X, model)
    assert finding.severity is Severity.INFO
    x = X.copy()
    x[:, 3] *= 1e5
    (finding,) = found(x, model)
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(("mean", "fires"), [(0.0, True), (3.0, False)])
def test_a_normalization_that_never_adapted_is_named(mean, fires):
    normalization = weighted(layer("normalization", "Normalization"), 20, name="mean", std=0.0)
    normalization = weighted(normalization, 20, name="variance", std=0.0)
    start = {"mean": mean, "variance": 1.0}
    weights = tuple(dataclasses.replace(w, mean=start[w.name]) for w in normalization.weights)
    found_ = found(1000 * X, augmented(dataclasses.replace(normalization, weights=weights)))
    assert bool(found_) is fires
    if fires:
        assert "never adapted" in found_[0].message
        assert ".adapt(np.asarray(X))" in found_[0].remedies[0].code


def augmented(*layers_first):
    return chain(*layers_first, dense("dense", 25, 20, activation="relu"), dense("head", 1, 25))


def test_augmentation_does_not_hide_raw_pixels():
    (finding,) = found(255 * np.abs(X), augmented(layer("flip", "RandomFlip")))
    assert "'dense' reads them" in finding.message


@pytest.mark.parametrize(
    ("scale", "before", "value_range", "expected"),
    [
        (1, (), (0, 255), [0, 1]),
        (255, ("Rescaling",), (0, 255), [0, 1]),
        (255, (), (0, 1), [0, 255]),
        (1, (), (0, 1), None),
        (255, (), (0, 255), None),
    ],
)
def test_augmentation_set_for_another_range(scale, before, value_range, expected):
    first = [layer(f"first_{i}", kind, scale=1 / 255) for i, kind in enumerate(before)]
    brightness = layer("brightness", "RandomBrightness", value_range=list(value_range))
    x = scale * np.random.default_rng(0).uniform(size=(400, 20))
    titles = {f.title: f for f in found(x, augmented(*first, brightness))}
    finding = titles.get("Augmentation for another range of values")
    assert (finding is not None) is (expected is not None)
    if finding is not None:
        assert f'"value_range": {[float(end) for end in expected]}' in finding.remedies[0].code


def test_a_run_that_learned_anyway_makes_it_information():
    record = config_record(x=100 * X, y=Y, optimizer=ADAM)
    assert findings_of(SLUG, learned(record, 0.8))[0].severity is Severity.INFO
    assert findings_of(SLUG, learned(record, 0.7))[0].severity is Severity.WARNING


@pytest.mark.parametrize(("loss", "severity"), [(0.9, Severity.INFO), (1.5, Severity.WARNING)])
def test_few_errors_of_absurd_certainty_are_not_learning(loss, severity):
    record = config_record(x=1000 * X, y=Y, optimizer=ADAM, baseline=1.0)
    logs = history(loss=np.full(20, loss))
    (finding,) = findings_of(SLUG, dataclasses.replace(learned(record, 0.95), history=logs))
    assert finding.severity is severity


def test_remedies_standardize_divide_pixels_or_suggest_an_embedding():
    (finding,) = found(1000 * X)
    names = {"X": 1000 * X, "X_val": 1000 * X[:5], "np": np}
    exec(finding.remedies[0].code, names)
    assert names["X"].std(axis=0) == pytest.approx(1, abs=1e-3)
    assert names["X_val"] == pytest.approx(names["X"][:5])
    assert "Normalization" in finding.remedies[1].code
    (finding,) = found(RANDOM.integers(0, 256, size=(50, 784)), mlp(inputs=784))
    assert "/ 255" in finding.remedies[0].code
    (finding,) = found(RANDOM.integers(0, 5000, size=(50, 100)), mlp(inputs=100))
    assert "Embedding" in finding.remedies[-1].text


def test_constant_columns_survive_standardizing():
    (finding,) = found(np.hstack([1000 * X, np.full((400, 1), 7.0)]), mlp(inputs=21))
    names = {"X": np.full((4, 1), 7.0), "X_val": np.full((2, 1), 7.0), "np": np}
    exec(finding.remedies[0].code, names)
    assert np.all(names["X"] == 0)


def test_thresholds_are_where_they_say():
    scale = X / np.sqrt(np.mean(X**2))
    assert found(9.9 * scale) == ()
    assert len(found(10.1 * scale)) == 1


def test_not_applicable_without_inputs_or_graph():
    assert "x=" in outcome_of(SLUG, config_record(y=Y)).reason
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"
    subclassed = dataclasses.replace(mlp(), graph_known=False, kind="subclassed")
    assert "subclassed" in outcome_of(SLUG, config_record(model=subclassed, x=X)).reason


def test_the_code_standardizes_one_number_per_example_too():
    celsius = np.linspace(-40, 400, 30)
    (finding,) = findings_of(SLUG, config_record(model=mlp(inputs=1), x=celsius, y=celsius))
    given = {"X": celsius, "X_val": celsius[:5], "np": np}
    exec(finding.remedies[0].code, given)
    assert given["X"].std() == pytest.approx(1)
    assert given["X_val"] == pytest.approx(given["X"][:5])


@pytest.mark.parametrize(("raw", "says"), [(RANDOM.random((200, 20)), "Scale once"), (None, "")])
def test_the_remedy_reckons_with_the_models_own_rescaling(raw, says):
    x = RANDOM.normal(1e6, 1e5, size=(200, 20)) if raw is None else raw
    rescaled = chain(layer("rescaling", "Rescaling", scale=1 / 255, offset=-0.5), *TAIL)
    (finding,) = findings_of(SLUG, config_record(model=rescaled, x=x, y=np.arange(200.0)))
    assert len(finding.remedies) == 1, "a Normalization in front would be rescaled as well"
    assert says in finding.remedies[0].text
    names = {"X": x, "X_val": x, "np": np}
    exec(finding.remedies[0].code, names)
    read = names["X"] / 255 - 0.5
    assert 0.4 < np.sqrt(np.mean(read**2)) < 1.1
