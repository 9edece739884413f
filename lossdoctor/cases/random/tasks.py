"""Random learning tasks, as people bring them to their first Keras models: in raw units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lossdoctor.cases.data import Array, Data, split
from lossdoctor.cases.score import ACCURACY, BITS, R2, Score

Random = np.random.Generator
Floats = NDArray[np.float64]
Goal = Literal["regression", "counts", "binary", "classes", "labels", "reconstruction"]
Shape = Literal["table", "image", "sequence", "tokens"]

_SCORES: dict[Goal, Score] = {
    "regression": R2,
    "counts": R2,
    "binary": ACCURACY,
    "classes": ACCURACY,
    "labels": BITS,
    "reconstruction": R2,
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """Rows to learn from.

    `classes` counts classes or labels, or the words of `tokens`' vocabulary under `words`. A task
    is `tiny` when its few patterns are all there are, so that nothing can be held out.
    """

    name: str
    goal: Goal
    shape: Shape
    data: Data
    classes: int = 0
    words: int = 0
    tiny: bool = False

    @property
    def score(self) -> Score:
        """What is counted for this goal."""
        return _SCORES[self.goal]

    @property
    def chance(self) -> float:
        """The score of the best constant answer on the held-out rows."""
        y = self.data.y_val
        if self.score is R2:
            return 0.0
        if self.score is BITS:
            ones = y.mean(axis=0)
            return float(np.maximum(ones, 1 - ones).mean())
        return float(np.unique(y, return_counts=True)[1].max() / len(y))


def draw_task(random: Random) -> Task:
    """One task; tables are the most frequent, as they are in public questions."""
    makers, weights = zip(*_MAKERS)
    share = np.array(weights) / sum(weights)
    maker: Callable[[Random], Task] = makers[random.choice(len(makers), p=share)]
    return maker(random)


# Tables ---------------------------------------------------------------------------------------


def _columns(latent: Floats, random: Random) -> Floats:
    """Each column in units of its own: measures, skewed amounts, small counts, flags."""
    columns = []
    for z in latent.T:
        kind = random.choice(["measure", "amount", "count", "flag"], p=[0.5, 0.25, 0.15, 0.1])
        unit = 10 ** random.uniform(-1, 4)
        if kind == "measure":
            columns.append(unit * (random.uniform(-1, 8) + z))
        elif kind == "amount":
            columns.append(unit * np.exp(random.uniform(0.4, 1.0) * z))
        elif kind == "count":
            columns.append(np.floor(np.exp(1 + 0.6 * z)))
        else:
            columns.append((z > 0).astype(float))
    return np.stack(columns, axis=1)


def _signals(X: Floats, count: int, random: Random) -> Floats:
    """Smooth functions of the standardized columns, one column each, of unit variance."""
    z = np.clip((X - X.mean(0)) / np.maximum(X.std(0), 1e-9), -3, 3)
    width = z.shape[1]
    linear = z @ random.normal(size=(width, count)) / np.sqrt(width)
    bends = np.tanh(z @ random.normal(size=(width, 4)) / np.sqrt(width)) @ random.normal(
        size=(4, count)
    )
    signals = linear + random.uniform(0.2, 0.8) * bends
    return np.asarray((signals - signals.mean(0)) / signals.std(0))


def _table(random: Random) -> Floats:
    rows = int(random.integers(400, 1400))
    return _columns(random.normal(size=(rows, int(random.integers(3, 16)))), random)


def _measured(random: Random) -> Task:
    """A measured quantity, such as a price or a temperature, in units of its own."""
    X = _table(random)
    signal = _signals(X, 1, random)[:, 0] + random.uniform(0.03, 0.2) * random.normal(size=len(X))
    unit = 10 ** random.uniform(-1, 5)
    y = unit * (random.uniform(0, 6) + signal)
    if random.random() < 0.3:
        y = unit * np.exp(0.6 * signal)
    return Task(name="measured", goal="regression", shape="table", data=_held_out(X, y))


def _rating(random: Random) -> Task:
    """Marks from 1 to 5 or 1 to 10: whole numbers in an order."""
    X = _table(random)
    top = int(random.choice([5, 10]))
    signal = _signals(X, 1, random)[:, 0] + 0.1 * random.normal(size=len(X))
    y = np.clip(np.rint((top + 1) / 2 + top / 5 * signal), 1, top)
    return Task(name="rating", goal="regression", shape="table", data=_held_out(X, y))


def _counts(random: Random) -> Task:
    """Numbers of events, of which there are seldom less than none."""
    X = _table(random)
    rate = np.exp(random.uniform(2.5, 4) + 0.7 * _signals(X, 1, random)[:, 0])
    return Task(
        name="counts",
        goal="counts",
        shape="table",
        data=_held_out(X, random.poisson(rate).astype(float)),
    )


def _two_groups(random: Random) -> Task:
    X = _table(random)
    signal = _signals(X, 1, random)[:, 0] + 0.1 * random.normal(size=len(X))
    y = (signal > random.uniform(-0.5, 0.5)).astype(int)
    return Task(name="two-groups", goal="binary", shape="table", data=_held_out(X, y), classes=2)


def _clusters(random: Random) -> Task:
    classes = int(random.integers(3, 8))
    width = int(random.integers(3, 12))
    y = random.integers(classes, size=int(random.integers(400, 1400)))
    centers = random.normal(scale=random.uniform(2, 3.5), size=(classes, width))
    X = _columns(centers[y] + random.normal(size=(len(y), width)), random)
    return Task(
        name="clusters", goal="classes", shape="table", data=_held_out(X, y), classes=classes
    )


def _tags(random: Random) -> Task:
    X = _table(random)
    count = int(random.integers(3, 9))
    y = (_signals(X, count, random) > random.uniform(-0.4, 0.8, size=count)).astype(int)
    return Task(name="tags", goal="labels", shape="table", data=_held_out(X, y), classes=count)


def _known_table(random: Random) -> Task:
    from sklearn import datasets

    name = str(random.choice(["iris", "wine", "breast_cancer"]))
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    classes = int(y.max()) + 1
    return Task(
        name=name.replace("_", "-"),
        goal="classes" if classes > 2 else "binary",
        shape="table",
        data=_held_out(X, y, random),
        classes=classes,
    )


def _plane(random: Random) -> Task:
    """Two features one can draw: moons, rings or heaps."""
    from sklearn import datasets

    seed, rows = int(random.integers(2**31)), int(random.integers(300, 1200))
    kind = str(random.choice(["moons", "circles", "blobs"]))
    if kind == "moons":
        X, y = datasets.make_moons(rows, noise=random.uniform(0.03, 0.12), random_state=seed)
    elif kind == "circles":
        noise = random.uniform(0.03, 0.1)
        X, y = datasets.make_circles(rows, noise=noise, factor=0.5, random_state=seed)
    else:
        centers = int(random.integers(3, 6))
        X, y = datasets.make_blobs(rows, centers=centers, random_state=seed)
    classes = int(y.max()) + 1
    return Task(
        name=kind,
        goal="classes" if classes > 2 else "binary",
        shape="table",
        data=_held_out(X, y, random),
        classes=classes,
    )


# Toys -----------------------------------------------------------------------------------------


def _patterns(bits: int) -> Floats:
    return (np.arange(2**bits)[:, None] >> np.arange(bits) & 1).astype(float)


def _xor(random: Random) -> Task:
    X = _patterns(2)
    return _all_there_is("xor", "binary", X, (X.sum(axis=1) % 2).astype(int), classes=2)


def _parity(random: Random) -> Task:
    X = _patterns(int(random.integers(3, 7)))
    return _all_there_is("parity", "binary", X, (X.sum(axis=1) % 2).astype(int), classes=2)


def _bit_map(random: Random) -> Task:
    """Patterns of bits answered by other bits: complement, shift, gray code."""
    bits = int(random.integers(4, 9))
    X = _patterns(bits)
    shifted = np.roll(X, 1, axis=1)
    kind = random.integers(3)
    y = (1 - X, shifted, np.abs(X - shifted))[kind]
    return _all_there_is("bit-map", "labels", X, y, classes=bits)


def _all_there_is(name: str, goal: Goal, X: Array, y: Array, classes: int) -> Task:
    data = Data(X=X, y=y, X_val=X, y_val=y)
    return Task(name=name, goal=goal, shape="table", data=data, classes=classes, tiny=True)


def _curve(random: Random) -> Task:
    """One input, one output: a line, a square, a sine, a cube."""
    reach = float(random.choice([1, 1, 2, 3, 10, 100]))
    rows = int(random.integers(100, 800))
    t = random.uniform(-1, 1, size=rows)
    kind = str(random.choice(["line", "square", "sine", "cube"]))
    shape = {"line": t, "square": t**2, "sine": np.sin(np.pi * t), "cube": t**3}[kind]
    height = float(random.choice([1, 1, 5, 100, 1000]))
    y = height * (shape + random.uniform(0, 0.05) * random.normal(size=rows)) + random.integers(5)
    return Task(name=kind, goal="regression", shape="table", data=_held_out(reach * t[:, None], y))


# Images ---------------------------------------------------------------------------------------


def _digits(random: Random) -> Task:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    order = random.permutation(len(X))[: int(random.integers(700, 1500))]
    images = np.round(X[order] * (255 / 16)).reshape(-1, 8, 8, 1)
    return Task(
        name="digits", goal="classes", shape="image", data=_held_out(images, y[order]), classes=10
    )


def _digit_copies(random: Random) -> Task:
    images = _digits(random).data
    return Task(
        name="digit-copies",
        goal="reconstruction",
        shape="table",
        data=Data(
            X=images.X.reshape(-1, 64),
            y=images.X.reshape(-1, 64),
            X_val=images.X_val.reshape(-1, 64),
            y_val=images.X_val.reshape(-1, 64),
        ),
    )


def _figures(random: Random) -> Task:
    """Disks, squares, crosses, bars: one bright figure anywhere on a noisy ground."""
    size, rows = int(random.choice([12, 16, 20, 28])), int(random.integers(300, 600))
    classes = int(random.integers(2, 6))
    y = random.integers(classes, size=rows)
    row, column = np.mgrid[:size, :size]
    images = np.empty((rows, size, size))
    for i, kind in enumerate(y):
        radius = random.uniform(0.15, 0.3) * size
        down, right = random.uniform(0.35, 0.65, size=2) * size
        v, h = np.abs(row - down), np.abs(column - right)
        images[i] = (
            v**2 + h**2 < radius**2,
            (v < radius / 4) | (h < radius / 4),
            v < radius / 2,
            h < radius / 2,
            (np.abs(v - radius) < 1) | (np.abs(h - radius) < 1),
        )[kind]
    images = _grey(images * random.uniform(0.6, 1) + random.normal(0, 0.1, images.shape))
    return Task(
        name="figures",
        goal="classes" if classes > 2 else "binary",
        shape="image",
        data=_held_out(images, y),
        classes=classes,
    )


def _textures(random: Random) -> Task:
    """28 × 28 pictures of ten kinds, such as clothes or letters: a smooth pattern and noise."""
    classes, rows = int(random.choice([3, 5, 10])), int(random.integers(400, 800))
    coarse = random.uniform(0, 1, size=(classes, 7, 7))
    kinds = coarse.repeat(4, axis=1).repeat(4, axis=2)
    y = random.integers(classes, size=rows)
    noise = random.normal(0, random.uniform(0.2, 0.5), size=(rows, 28, 28))
    images = kinds[y] * random.uniform(0.5, 1, size=(rows, 1, 1)) + noise
    return Task(
        name="textures",
        goal="classes",
        shape="image",
        data=_held_out(_grey(images), y),
        classes=classes,
    )


def _grey(images: Floats) -> Floats:
    return np.asarray(np.round(255 * np.clip(images, 0, 1))[..., None])


# Sequences ------------------------------------------------------------------------------------


def _forecast(random: Random) -> Task:
    """Windows of a noisy wave in units of its own; the target is the next value."""
    steps, rows = int(random.integers(8, 30)), int(random.integers(300, 800))
    t = np.arange(rows + steps)
    wave = np.sin(random.uniform(0.1, 0.6) * t) + 0.5 * np.sin(random.uniform(0.02, 0.1) * t)
    wave = wave + 0.05 * random.normal(size=len(t))
    unit, offset = 10 ** random.uniform(-1, 3), random.uniform(0, 5)
    series = unit * (wave + offset)
    windows = np.lib.stride_tricks.sliding_window_view(series, steps)[:rows]
    return Task(
        name="forecast",
        goal="regression",
        shape="sequence",
        data=_held_out(windows[..., None].copy(), series[steps:]),
    )


def _sensors(random: Random) -> Task:
    """Recordings of several channels; the class is the form of their wave."""
    steps, channels = int(random.integers(16, 40)), int(random.integers(1, 4))
    classes, rows = int(random.integers(2, 5)), int(random.integers(300, 700))
    y = random.integers(classes, size=rows)
    phase = random.uniform(0, 2 * np.pi, size=(rows, 1, 1))
    speed = 0.25 + 0.3 * y[:, None, None]
    t = np.arange(steps)[None, :, None] * np.ones((1, 1, channels))
    waves = np.sin(speed * t + phase) + random.normal(0, 0.2, size=(rows, steps, channels))
    unit = 10 ** random.uniform(-1, 3, size=channels)
    X = unit * (waves + random.uniform(-2, 5, size=channels))
    return Task(
        name="sensors",
        goal="classes" if classes > 2 else "binary",
        shape="sequence",
        data=_held_out(X, y),
        classes=classes,
    )


def _sentences(random: Random) -> Task:
    """Word ids, padded with 0 in front; words of one half of the vocabulary speak for a class."""
    words, steps = int(random.integers(30, 300)), int(random.integers(8, 25))
    rows = int(random.integers(500, 1000))
    classes = int(random.choice([2, 2, 3]))
    y = random.integers(classes, size=rows)
    topic = random.integers(classes, size=words)
    by_topic = [np.flatnonzero(topic == c) + 1 for c in range(classes)]
    ids = random.integers(1, words + 1, size=(rows, steps))
    for i, c in enumerate(y):
        telling = random.random(steps) < 0.6
        ids[i, telling] = random.choice(by_topic[c], size=telling.sum())
        ids[i, : random.integers(steps // 2)] = 0
    return Task(
        name="sentences",
        goal="classes" if classes > 2 else "binary",
        shape="tokens",
        data=_held_out(ids, y),
        classes=classes,
        words=words + 1,
    )


def _held_out(X: Array, y: Array, random: Random | None = None) -> Data:
    """A quarter of the rows held out; shuffled first where the rows come in an order."""
    if random is not None:
        order = random.permutation(len(X))
        X, y = X[order], y[order]
    return split(X, y, 3 * len(X) // 4)


_MAKERS: tuple[tuple[Callable[[Random], Task], float], ...] = (
    (_measured, 4),
    (_rating, 1),
    (_counts, 1),
    (_two_groups, 3),
    (_clusters, 2),
    (_tags, 1.5),
    (_known_table, 2),
    (_plane, 2),
    (_xor, 1),
    (_parity, 0.7),
    (_bit_map, 1),
    (_curve, 2.5),
    (_digits, 2),
    (_digit_copies, 1),
    (_figures, 1.5),
    (_textures, 1),
    (_forecast, 2),
    (_sensors, 1.5),
    (_sentences, 2),
)
