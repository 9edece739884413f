import numpy as np
import pytest
from sklearn.datasets import make_blobs, make_circles

from lossdoctor.record.probes import probe_data

RANDOM = np.random.default_rng(0)


def blobs(count, seed=2, spread=2.0):
    return make_blobs(count, centers=3, cluster_std=spread, random_state=seed)


def test_signal_is_the_variance_explained_out_of_fold():
    x = RANDOM.normal(size=(400, 5))
    y = x[:, 0] + RANDOM.normal(size=400)
    assert probe_data([x], [y])["signal"] == pytest.approx(0.5, abs=0.1)
    assert probe_data([x], [RANDOM.normal(size=400)])["signal"] < 0.01


def test_signal_that_no_linear_model_sees():
    x, y = make_circles(500, noise=0.1, random_state=1)
    assert probe_data([x], [y])["signal"] > 0.2


def test_signal_is_the_same_for_ids_one_hot_rows_and_shifted_ids():
    x, y = blobs(300)
    expected = probe_data([x], [y])["signal"]
    assert probe_data([x], [np.eye(3)[y]])["signal"] == pytest.approx(expected)
    assert probe_data([x], [y + 1])["signal"] == pytest.approx(expected)
    assert probe_data([x], [y.reshape(-1, 1)])["signal"] == pytest.approx(expected)


def test_clean_overlap_is_no_label_noise_and_moved_labels_are():
    x, y = blobs(1000)
    moved = np.where(RANDOM.random(1000) < 0.4, (y + 1) % 3, y)
    sides = {"validation_inputs": [x[500:]], "validation_targets": [y[500:]]}
    clean = probe_data([x[:500]], [y[:500]], **sides)
    noisy = probe_data([x[:500]], [moved[:500]], **sides)
    assert clean["label_noise"] < 0.06
    assert noisy["label_noise"] > 0.2
    assert abs(clean["fold_error"] - clean["validation_error"]) < 0.08
    assert noisy["fold_error"] - noisy["validation_error"] > 0.1


def test_neighbors_that_cannot_tell_grades_apart_are_no_witness_alone():
    x = RANDOM.normal(size=(500, 8))
    grades = np.digitize(x[:, 0] + 0.5 * x[:, 1] - x[:, 2], [-1.5, -0.5, 0.5, 1.5])
    found = probe_data([x], [grades])
    assert found["neighbor_error"] > 0.4
    assert found["label_noise"] < 0.2


def test_conflicting_labels_count_equal_inputs():
    x = np.repeat(RANDOM.normal(size=(50, 3)), 2, axis=0)
    y = np.tile([0, 1], 50)
    assert probe_data([x], [y])["conflicting_labels"] == 1.0
    assert probe_data([x], [np.repeat(np.arange(50) % 2, 2)])["conflicting_labels"] == 0.0


def test_overlap_is_scaled_up_by_the_sampled_share():
    x = RANDOM.normal(size=(1000, 4))
    found = probe_data([x], [x[:, 0]], validation_inputs=[x[:100]])
    assert found["validation_overlap"] == 1.0
    assert found["validation_matches"] == 100
    half = np.vstack([x[:50], RANDOM.normal(size=(50, 4))])
    found = probe_data([x], [x[:, 0]], validation_inputs=[half], rows=2000)
    assert found["validation_overlap"] == 1.0
    found = probe_data([x], [x[:, 0]], validation_inputs=[half])
    assert found["validation_overlap"] == 0.5


def test_images_and_wide_tables_are_taken_as_they_are():
    images = RANDOM.random((100, 8, 8, 1))
    bright = images + (np.arange(100) % 2)[:, None, None, None]
    for inputs in (bright, bright.reshape(100, 64).repeat(5, axis=1)):
        assert probe_data([inputs], [np.arange(100) % 2])["flat_signal"] > 0.9
    assert probe_data([images], [np.arange(100) % 2])["flat_signal"] < 0.2
    assert probe_data([images], [np.arange(100) % 2], fit_models=False) == {}


def stripes(count):
    """Images of stripes along either axis, which begin anywhere, and which axis it is."""
    upright = RANDOM.integers(0, 2, count)
    waves = np.sin(np.arange(12) + RANDOM.uniform(0, 6, (count, 1)))
    images = np.repeat(waves[:, :, None], 12, axis=2)
    images[upright == 1] = images[upright == 1].transpose(0, 2, 1)
    return images[..., None] + RANDOM.normal(size=(count, 12, 12, 1)) / 2, upright


def test_patterns_that_stand_anywhere_are_found_by_what_is_pooled_over_positions():
    images, upright = stripes(400)
    assert probe_data([images], [upright])["pooled_signal"] > 0.9
    assert probe_data([images], [RANDOM.permutation(upright)])["pooled_signal"] < 0.04


def test_moved_labels_of_images_show_against_validation():
    images, upright = stripes(500)
    moved = np.where(RANDOM.random(500) < 0.3, 1 - upright, upright)
    sides = {"validation_inputs": [images[300:]], "validation_targets": [upright[300:]]}
    for labels, excess in ((upright, 0.0), (moved, 0.3)):
        found = probe_data([images[:300]], [labels[:300]], **sides)
        measured = found["pooled_fold_error"] - found["pooled_validation_error"]
        assert measured == pytest.approx(excess, abs=0.1)
        assert found["pooled_validation_error_rows"] == 200
    others = {"validation_inputs": [images[300:, :6]], "validation_targets": [upright[300:]]}
    assert "pooled_fold_error" not in probe_data([images[:300]], [moved[:300]], **others)


def test_frequencies_of_a_sequence_and_words_of_a_text_are_found():
    fast = RANDOM.integers(0, 2, 200)
    phase = RANDOM.uniform(0, 6, (200, 1))
    series = np.sin((0.3 + 0.4 * fast[:, None]) * np.arange(60) + phase)[..., None]
    assert probe_data([series], [fast])["pooled_signal"] > 0.9
    words = RANDOM.integers(20, 400, (200, 30))
    words[np.arange(200), RANDOM.integers(0, 30, 200)] = 1 + fast
    assert probe_data([words], [fast])["pooled_signal"] > 0.5


def test_answers_for_many_positions_are_not_held_against_pooled_features():
    images, _ = stripes(100)
    assert "pooled_signal" not in probe_data([images], [images])


def test_images_of_validation_that_stand_in_training_are_counted():
    images = RANDOM.random((100, 8, 8, 1))
    found = probe_data([images], [None], validation_inputs=[images[:50]], fit_models=False)
    assert found == {"validation_overlap": 1.0, "validation_matches": 50}


def test_only_numbers_are_probed():
    assert probe_data([None], [np.arange(100) % 2]) == {}
    assert probe_data([np.array(["a"] * 100)], [np.arange(100) % 2]) == {}


def test_images_that_are_all_alike_tell_nothing():
    images, labels = np.zeros((200, 8, 8, 1)), np.arange(200) % 2
    found = probe_data([images], [labels], validation_inputs=[images], validation_targets=[labels])
    assert not {name for name in found if name.startswith(("pooled", "flat", "signal"))}


def test_too_little_data_constant_inputs_and_nan_rows():
    x = RANDOM.normal(size=(100, 3))
    assert probe_data([x[:59]], [x[:59, 0]]).keys() == {"linear_fit"}
    assert probe_data([x[:4]], [x[:4, 0]]) == {}
    assert probe_data([np.ones((100, 3))], [x[:, 0]]) == {}
    broken = x.copy()
    broken[3] = np.nan
    assert probe_data([broken], [x[:, 0]])["signal_rows"] == 99


def test_the_same_data_give_the_same_numbers():
    x, y = blobs(300)
    assert probe_data([x], [y]) == probe_data([x], [y])


def test_a_linear_fit_is_taken_of_the_smallest_truth_table():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert probe_data([x], [np.array([0, 1, 1, 0])])["linear_fit"] == pytest.approx(0)
    assert probe_data([x], [np.array([0, 0, 0, 1])])["linear_fit"] == pytest.approx(2 / 3)
    assert probe_data([x], [np.zeros(4)]) == {}


def test_a_regression_that_holds_in_validation_or_not():
    x = RANDOM.normal(size=(600, 6))
    y = x[:, 0] - 2 * x[:, 3] + 0.3 * RANDOM.normal(size=600)
    sides = {"validation_targets": [y[400:]]}
    same = probe_data([x[:400]], [y[:400]], validation_inputs=[x[400:]], **sides)
    turned = probe_data([x[:400]], [y[:400]], validation_inputs=[x[400:, ::-1]], **sides)
    assert same["signal"] > 0.8
    assert same["validation_r2"] == pytest.approx(same["signal"], abs=0.1)
    assert turned["validation_r2"] < 0.1
    few = probe_data([x[:400]], [y[:400]], validation_inputs=[x[:30]], validation_targets=[y[:30]])
    assert "validation_r2" not in few


def test_a_forest_sees_in_flattened_sequences_what_lines_do_not():
    x = RANDOM.normal(size=(400, 20, 4))
    y = (np.abs(x[:, 3, 1]) > 0.7).astype(int)
    found = probe_data([x], [y])
    assert found["flat_signal"] < 0.1
    assert found["flat_error"] < 0.6 * found["flat_minority"]
