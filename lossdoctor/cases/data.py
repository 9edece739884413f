"""The data of the cases: scikit-learn's generators and built-in sets, always the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Data:
    """What `fit` is given: training rows and held-out rows. Models may train without targets."""

    X: Array
    y: Any
    X_val: Array
    y_val: Any


def split(X: Array, y: Array, rows: int = 500) -> Data:
    """The first `rows` for training, the rest held out."""
    return Data(X=X[:rows], y=y[:rows], X_val=X[rows:], y_val=y[rows:])


def regression() -> Data:
    """`make_regression`, 1000 × 20, noise 0.1, inputs and target standardized."""
    X, y = _raw_regression()
    return split(X, (y - y.mean()) / y.std())


def unscaled_regression() -> Data:
    """The same with the target as the generator gives it (standard deviation about 200)."""
    return split(*_raw_regression())


def positive_regression() -> Data:
    """The same with the standardized target shifted to start at 0.

    The tutorial trains MSLE on the standardized target itself; Keras clips its negative half to
    zero there, so only a non-negative target makes a healthy case.
    """
    X, y = _raw_regression()
    return split(X, (y - y.min()) / y.std())


def measured_regression() -> Data:
    """The same with inputs in units of their own: offsets up to 50, spreads from 0.5 to 10."""
    data = regression()
    random = np.random.default_rng(1)
    spread, offset = random.uniform(0.5, 10, 20), random.uniform(-50, 50, 20)
    return Data(
        X=data.X * spread + offset, y=data.y, X_val=data.X_val * spread + offset, y_val=data.y_val
    )


def _raw_regression() -> tuple[Array, Array]:
    from sklearn.datasets import make_regression
    from sklearn.preprocessing import StandardScaler

    X, y = make_regression(n_samples=1000, n_features=20, noise=0.1, random_state=1)
    return StandardScaler().fit_transform(X), y


def circles() -> Data:
    """`make_circles`, 1000 points, noise 0.1: two rings, labels 0 and 1."""
    from sklearn.datasets import make_circles

    return split(*make_circles(n_samples=1000, noise=0.1, random_state=1))


def signed_circles() -> Data:
    """The circles with labels -1 and 1, as hinge losses expect them."""
    data = circles()
    return Data(X=data.X, y=2 * data.y - 1, X_val=data.X_val, y_val=2 * data.y_val - 1)


def blobs() -> Data:
    """`make_blobs`, 1000 points, 3 centers, standard deviation 2: class ids 0, 1, 2."""
    from sklearn.datasets import make_blobs

    return split(
        *make_blobs(n_samples=1000, centers=3, n_features=2, cluster_std=2, random_state=2)
    )


def one_hot_blobs() -> Data:
    """The blobs with one-hot labels."""
    data = blobs()
    return Data(X=data.X, y=one_hot(data.y), X_val=data.X_val, y_val=one_hot(data.y_val))


def one_hot(ids: Array, classes: int | None = None) -> Array:
    """Class ids as one-hot rows; by default as wide as the ids go."""
    return np.eye(classes or int(ids.max()) + 1, dtype="float32")[ids]


def digits() -> Data:
    """8 × 8 grey digits flattened to 64 inputs in [0, 1], about half of them 0; class ids."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return split(X.astype("float32") / 16, y, 1200)


def sparse_digits() -> Data:
    """The digits without their grey: only pixels of at least 14/16 remain, the others are 0."""
    data = digits()
    X, X_val = (np.where(pixels >= 14 / 16, pixels, 0) for pixels in (data.X, data.X_val))
    return Data(X=X, y=data.y, X_val=X_val, y_val=data.y_val)


def digit_images() -> Data:
    """The digits as 8 × 8 × 1 images in 0-255."""
    data = digits()
    return Data(X=_images(data.X), y=data.y, X_val=_images(data.X_val), y_val=data.y_val)


def _images(X: Array) -> Array:
    return np.round(X * 255).reshape(-1, 8, 8, 1)


def digits_as_targets() -> Data:
    """The digits as inputs and as grey-level targets in [0, 1], for autoencoders."""
    data = digits()
    return Data(X=data.X, y=data.X, X_val=data.X_val, y_val=data.X_val)


def digits_from(lowest: int, count: int = 5) -> Data:
    """The digits `lowest` to `lowest + count - 1`, with class ids from 0."""
    data = digits()
    train = (data.y >= lowest) & (data.y < lowest + count)
    held_out = (data.y_val >= lowest) & (data.y_val < lowest + count)
    return Data(
        X=data.X[train],
        y=data.y[train] - lowest,
        X_val=data.X_val[held_out],
        y_val=data.y_val[held_out] - lowest,
    )


def soft_blobs() -> Data:
    """The blobs with 0.1 of each label spread over the three classes: entropy 0.29 nats."""
    data = one_hot_blobs()
    return Data(
        X=data.X,
        y=0.9 * data.y + 0.1 / 3,
        X_val=data.X_val,
        y_val=0.9 * data.y_val + 0.1 / 3,
    )


def few_held_out_circles() -> Data:
    """The circles with 20 held-out rows."""
    data = circles()
    return Data(X=data.X, y=data.y, X_val=data.X_val[:20], y_val=data.y_val[:20])


def rare_circles() -> Data:
    """The circles with 12 of class 1 against some 250 of class 0 in training."""
    data = circles()
    keep = np.sort(np.concatenate([np.flatnonzero(data.y == 0), np.flatnonzero(data.y)[:12]]))
    return Data(X=data.X[keep], y=data.y[keep], X_val=data.X_val, y_val=data.y_val)


def multi_label() -> Data:
    """`make_multilabel_classification`, 1000 × 20 standardized, five labels, about two a row."""
    from sklearn.datasets import make_multilabel_classification
    from sklearn.preprocessing import StandardScaler

    X, y = make_multilabel_classification(n_samples=1000, n_classes=5, random_state=1)
    return split(StandardScaler().fit_transform(X), y.astype("float32"), 700)


def tokens() -> Data:
    """Sequences of 20 word ids out of 100; the label says whether ids below 50 prevail."""
    random = np.random.default_rng(1)
    tendency = random.uniform(0.2, 0.8, size=(3000, 1))
    low = random.random((3000, 20)) < tendency
    ids = np.where(low, random.integers(0, 50, low.shape), random.integers(50, 100, low.shape))
    return split(ids, (low.mean(axis=1) > 0.5).astype(int), 2000)


def padded_tokens() -> Data:
    """The same sequences with ids from 1, padded in front to 60 with id 0."""
    data = tokens()
    X, X_val = (np.pad(ids + 1, ((0, 0), (40, 0))) for ids in (data.X, data.X_val))
    return Data(X=X, y=data.y, X_val=X_val, y_val=data.y_val)


def diabetes() -> Data:
    """scikit-learn's diabetes table: 10 standardized features, a target of 25 to 346 units."""
    from sklearn.datasets import load_diabetes
    from sklearn.preprocessing import StandardScaler

    X, y = load_diabetes(return_X_y=True)
    return split(StandardScaler().fit_transform(X), y, 300)


def iris() -> Data:
    """scikit-learn's iris table in random order, standardized."""
    from sklearn.datasets import load_iris

    return _shuffled_table(load_iris, 100)


def wine() -> Data:
    """scikit-learn's wine table in random order, standardized."""
    from sklearn.datasets import load_wine

    return _shuffled_table(load_wine, 120)


def breast_cancer() -> Data:
    """scikit-learn's breast cancer table in random order, standardized."""
    from sklearn.datasets import load_breast_cancer

    return _shuffled_table(load_breast_cancer, 400)


def _shuffled_table(load: Any, rows: int) -> Data:
    from sklearn.preprocessing import StandardScaler

    X, y = load(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(X))
    return split(StandardScaler().fit_transform(X)[order], y[order], rows)


def sine() -> Data:
    """Windows of 100 values of a noisy sine; the target is the next value."""
    random = np.random.default_rng(1)
    steps = 100
    wave = np.sin(np.arange(1000 + steps) * 0.3) + random.normal(0, 0.1, 1000 + steps)
    windows = np.lib.stride_tricks.sliding_window_view(wave, steps)[:1000]
    return split(windows[..., None].copy(), wave[steps:], 700)


def counts() -> Data:
    """Counts with a Poisson distribution whose rate depends on four features."""
    random = np.random.default_rng(1)
    X = random.normal(size=(1000, 4))
    return split(X, random.poisson(np.exp(X @ [0.5, -0.4, 0.3, 0.0] + 1)), 700)


def small_quantities() -> Data:
    """A target with mean 0 and standard deviation near 0.02: its density exceeds 1."""
    random = np.random.default_rng(1)
    X = random.uniform(-1, 1, size=(1000, 1))
    return split(X, 0.02 * np.sin(3 * X) + random.normal(0, 0.005, size=(1000, 1)), 700)


def disks() -> Data:
    """Noisy 16 × 16 images of one disk; the target is its mask."""
    random = np.random.default_rng(1)
    center = random.uniform(4, 12, size=(600, 2, 1, 1))
    radius = random.uniform(2, 5, size=(600, 1, 1))
    rows, columns = np.mgrid[:16, :16]
    masks = (rows - center[:, 0]) ** 2 + (columns - center[:, 1]) ** 2 < radius**2
    images = masks + random.normal(0, 0.5, masks.shape)
    return split(images[..., None], masks[..., None].astype("float32"), 400)


def bell_curve() -> Data:
    """Samples of a normal distribution around 2, without targets."""
    samples = np.random.default_rng(1).normal(2, 0.5, size=(1000, 1)).astype("float32")
    return Data(X=samples[:500], y=None, X_val=samples[500:], y_val=None)
