"""Numbers measured on a bounded sample of the data itself, which never reaches a record.

`probe_data` answers what summaries of single tensors cannot: whether simple models find any signal
in the inputs, whether labels contradict their surroundings, whether validation rows stand in the
training data as well. Images, sequences and ids are judged by features that any position counts
for (`record.pooled_features`), as a linear model of single pixels overlooks most of them.

| probe | what it is |
|---|---|
| `signal` | best out-of-fold R² (on one-hot columns for classes) of a linear model, nearest neighbors and a small forest |
| `linear_fit` | R² of the best linear function on the very rows it was fitted to, the most a model without hidden units can explain |
| `signal_rows` | how many rows it rests on |
| `flat_signal` | that of a linear model and nearest neighbors on images, sequences and wide tables, flattened |
| `pooled_signal` | that of a linear model on pooled features of images, sequences and ids |
| `minority_rows` | how many of them are not of the most frequent class |
| `fold_error` | error rate of nearest neighbors out of fold, for classes |
| `validation_error` | that of the same neighbors, from as many training rows, on validation rows |
| `validation_error_rows` | how many rows it rests on |
| `pooled_fold_error`, `pooled_validation_error`, `pooled_validation_error_rows` | the same of a linear model on pooled features of images, sequences and ids |
| `label_noise` | share of labels that contradict both their neighbors and the best simple model, where the neighbors agree, far from any class border |
| `contradicted` | share of all labels that do, wherever they lie |
| `neighbor_error` | share of all labels that contradict their neighbors |
| `label_noise_rows` | how many such rows there are |
| `conflicting_labels` | share of rows with the same input as another row and another label |
| `validation_overlap` | estimated share of validation rows that stand in the training data, too |
| `validation_matches` | how many of the sampled ones were found |
"""  # noqa: E501

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.record.pooled_features import pooled_features

Floats = NDArray[np.float64]

PROBED_ROWS = 512
_FEWEST_ROWS = 60
_MOST_FEATURES = 256
_MOST_CLASSES = 50
_FOLDS = 4
_NEIGHBORS = 25
_TREES = 30
_INTERIOR_SHARE = 0.25
_FAR = 5.0
_SEED = 0


def probe_data(
    inputs: Sequence[NDArray[Any] | None],
    targets: Sequence[NDArray[Any] | None],
    *,
    validation_inputs: Sequence[NDArray[Any] | None] = (),
    validation_targets: Sequence[NDArray[Any] | None] = (),
    rows: int = 0,
    fit_models: bool = True,
) -> dict[str, float]:
    """Probe sampled rows.

    Args:
        inputs: Sampled rows of every input, aligned with `targets`.
        targets: Sampled rows of every target.
        validation_inputs: Sampled rows of every validation input.
        validation_targets: Sampled rows of every validation target, aligned with them.
        rows: How many training rows the sample was drawn from (0 = it is all of them).
        fit_models: Whether to fit simple models, which takes up to a few seconds; without them
            only the overlap of training and validation rows is measured.

    Returns:
        The probes that could be taken, by name; `{}` where the data are not numeric.
    """
    flat, other = _flat(inputs), _flat(validation_inputs)
    if flat is None:
        return {}
    found = _overlap(flat, other, rows)
    target = _target(targets)
    if target is None or not fit_models:
        return found
    tensors = [tensor for tensor in inputs if tensor is not None]
    if target.shape[1] <= _MOST_CLASSES:  # more of them stand for positions, which pooling loses
        found |= _pooled_signal(tensors, target)
        others = [tensor for tensor in validation_inputs if tensor is not None]
        found |= _pooled_errors(tensors, others, target, validation_targets)
    if any(tensor.ndim > 2 for tensor in tensors) or flat.shape[1] > _MOST_FEATURES:
        return found | _flat_signal(flat, target)
    table = flat.astype(np.float64)
    table, target = _usable(table, target)
    found |= _linear_fit(table, target)
    if len(table) < _FEWEST_ROWS or not (table.std(axis=0) > 0).any():
        return found
    classes = _classes(target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degenerate folds; the user did not ask for these fits
        expected = _expected(target, classes)
        predicted = _out_of_fold(_models(len(table)), table, expected)
        found["signal"] = _best_r2(expected, predicted)
        found["signal_rows"] = float(len(table))
        if classes is None:
            return found | _held_out(other, validation_targets, table, expected, predicted)
        found["minority_rows"] = float(len(classes) - np.bincount(classes).max())
        held_out = _validation(other, validation_targets, target)
        found |= _class_errors(table, classes, held_out, _voters(len(table)))
        found |= _label_noise(table, classes, [scores.argmax(axis=1) for scores in predicted])
    found["conflicting_labels"] = _conflicts(table, classes)
    return found


def _flat_signal(flat: NDArray[Any], target: Floats) -> dict[str, float]:
    columns = np.random.default_rng(_SEED).permutation(flat.shape[1])[:_MOST_FEATURES]
    table, target = _usable(flat[:, columns].astype(np.float64), target)
    if len(table) < _FEWEST_ROWS or not (table.std(axis=0) > 0).any():
        return {}
    classes = _classes(target)
    expected, smooth = _expected(target, classes), _smooth_models(len(table))
    predicted = _out_of_fold([*smooth, _forest(max_features=0.1)], table, expected)
    found = {"flat_signal": _best_r2(expected, predicted[: len(smooth)])}
    if classes is not None:
        errors = [float(np.mean(scores.argmax(axis=1) != classes)) for scores in predicted]
        found |= {
            "flat_error": min(errors),
            "flat_minority": float(1 - np.bincount(classes).max() / len(classes)),
        }
    return found


def _pooled_signal(tensors: Sequence[NDArray[Any]], target: Floats) -> dict[str, float]:
    few = [tensor[:PROBED_ROWS] for tensor in tensors]
    if not all(np.isfinite(tensor).all() for tensor in few):
        return {}
    features = pooled_features(few)
    if features is None:
        return {}
    table, target = _usable(features, target[:PROBED_ROWS])
    if len(table) < _FEWEST_ROWS or not (table.std(axis=0) > 0).any():
        return {}
    classes = _classes(target)
    rarer = len(table) if classes is None else len(table) - np.bincount(classes).max()
    expected = _expected(target, classes)
    return {
        "pooled_signal": _best_r2(expected, _out_of_fold([_linear_model()], table, expected)),
        "signal_rows": float(len(table)),
        "minority_rows": float(rarer),
    }


def _pooled_errors(
    tensors: Sequence[NDArray[Any]],
    others: Sequence[NDArray[Any]],
    target: Floats,
    validation_targets: Sequence[NDArray[Any] | None],
) -> dict[str, float]:
    sides = [(a[:PROBED_ROWS], b[:PROBED_ROWS]) for a, b in zip(tensors, others)]
    alike = len(tensors) == len(others) and all(a.shape[1:] == b.shape[1:] for a, b in sides)
    if not alike or not all(np.isfinite(a).all() and np.isfinite(b).all() for a, b in sides):
        return {}
    features = pooled_features([np.concatenate(side) for side in sides])
    if features is None:
        return {}
    rows = len(sides[0][0])
    table, target = _usable(features[:rows], target[:PROBED_ROWS])
    classes = _classes(target)
    if classes is None or len(table) < _FEWEST_ROWS or not (table.std(axis=0) > 0).any():
        return {}
    given = [wanted if wanted is None else wanted[:PROBED_ROWS] for wanted in validation_targets]
    validation = _validation(features[rows:], given, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        errors = _class_errors(table, classes, validation, [_linear_model()])
    return {f"pooled_{name}": value for name, value in errors.items()}


def _expected(target: Floats, classes: NDArray[np.int64] | None) -> Floats:
    """What a regression is fitted to: the classes' indicators, or the target itself."""
    return _without_far_values(target) if classes is None else _one_hot(classes)


def _target(targets: Sequence[NDArray[Any] | None]) -> Floats | None:
    if len(targets) != 1 or targets[0] is None or targets[0].dtype.kind not in "biuf":
        return None
    return np.asarray(targets[0], dtype=np.float64).reshape(len(targets[0]), -1)


def _usable(table: Floats, target: Floats) -> tuple[Floats, Floats]:
    usable = np.isfinite(table).all(axis=1) & np.isfinite(target).all(axis=1)
    return table[usable][:PROBED_ROWS], target[usable][:PROBED_ROWS]


def _flat(tensors: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """All inputs side by side, flattened, or None where one of them is not numeric."""
    parts = [t.reshape(len(t), -1) for t in tensors if t is not None and t.dtype.kind in "biuf"]
    if not parts or len(parts) < len(tensors):
        return None
    return np.concatenate(parts, axis=1)


def _classes(target: Floats) -> NDArray[np.int64] | None:
    """Class numbers where the target holds classes, from 0."""
    if target.shape[1] > 1:
        one_hot = ((target == 0) | (target == 1)).all() and (target.sum(axis=1) == 1).all()
        return target.argmax(axis=1) if one_hot else None
    values, numbers = np.unique(target[:, 0], return_inverse=True)
    whole = bool(np.all(values == np.round(values)))
    if not whole or not 2 <= len(values) <= min(_MOST_CLASSES, len(target) // 5):
        return None
    return np.asarray(numbers.reshape(-1), dtype=np.int64)


def _one_hot(classes: NDArray[np.int64]) -> Floats:
    return np.eye(int(classes.max()) + 1)[classes]


def _without_far_values(target: Floats) -> Floats:
    """The target with values far beyond the others drawn in: they alone would decide an R²."""
    center = np.median(target, axis=0)
    spread = 1.4826 * np.median(np.abs(target - center), axis=0)
    reach = np.where(spread > 0, _FAR * spread, np.inf)
    return np.clip(target, center - reach, center + reach)


def _models(rows: int) -> list[Any]:
    return [*_smooth_models(rows), _forest()]


def _forest(**settings: Any) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(_TREES, min_samples_leaf=5, random_state=_SEED, **settings)


def _linear_model() -> Any:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(alphas=(1.0, 100.0, 10_000.0)))


def _smooth_models(rows: int) -> list[Any]:
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return [
        _linear_model(),
        make_pipeline(StandardScaler(), KNeighborsRegressor(min(_NEIGHBORS, rows // 4))),
    ]


def _voters(rows: int) -> list[Any]:
    """Few neighbors for fine borders, many against noise."""
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = {min(_NEIGHBORS, rows // 4), max(1, rows // 8)}
    return [make_pipeline(StandardScaler(), KNeighborsRegressor(k)) for k in sorted(counts)]


def _out_of_fold(models: Sequence[Any], table: Floats, target: Floats) -> list[Floats]:
    """What each model predicts for rows it was not fitted to."""
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(_FOLDS, shuffle=True, random_state=_SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degenerate folds; the user did not ask for these fits
        return [
            np.asarray(cross_val_predict(model, table, target, cv=folds), dtype=np.float64)
            for model in models
        ]


def _best_r2(target: Floats, predictions: Sequence[Floats]) -> float:
    return max(_r2(target, predicted) for predicted in predictions)


def _linear_fit(table: Floats, target: Floats) -> dict[str, float]:
    varies = (table.std(axis=0) > 0).any() and (target.std(axis=0) > 0).any()
    if not varies or len(table) <= table.shape[1] + 1:
        return {}
    classes = _classes(target)
    wanted = target if classes is None else _one_hot(classes)
    scale = table.std(axis=0)
    scaled = (table - table.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    columns = np.column_stack([scaled, np.ones(len(table))])
    weights = np.linalg.lstsq(columns, wanted, rcond=None)[0]
    return {"linear_fit": _r2(wanted, columns @ weights)}


def _validation(
    other: NDArray[Any] | None, targets: Sequence[NDArray[Any] | None], train_target: Floats
) -> tuple[Floats, NDArray[np.int64]] | None:
    """Validation rows and their classes, numbered as the training classes are."""
    target = _target(targets)
    if other is None or target is None or target.shape[1] != train_target.shape[1]:
        return None
    other, target = _usable(other.astype(np.float64), target)
    if target.shape[1] > 1:
        return other, target.argmax(axis=1)
    ids = np.unique(train_target)
    known = np.isin(target[:, 0], ids)
    return other[known], np.searchsorted(ids, target[known, 0])


def _class_errors(
    table: Floats,
    classes: NDArray[np.int64],
    validation: tuple[Floats, NDArray[np.int64]] | None,
    models: Sequence[Any],
) -> dict[str, float]:
    from sklearn.model_selection import KFold, cross_val_predict

    if validation is None or len(validation[0]) < _FEWEST_ROWS:
        return {}
    other, expected = validation
    if other.shape[1] != table.shape[1]:
        return {}
    folds = KFold(_FOLDS, shuffle=True, random_state=_SEED)
    one_hot = _one_hot(classes)
    # As many rows as in a fold, so that neither side has seen more.
    part = np.random.default_rng(_SEED).permutation(len(table))[len(table) // _FOLDS :]
    errors = []
    for model in models:
        inside = cross_val_predict(model, table, one_hot, cv=folds).argmax(axis=1)
        outside = model.fit(table[part], one_hot[part]).predict(other).argmax(axis=1)
        errors.append((float(np.mean(inside != classes)), float(np.mean(outside != expected))))
    fold, found = min(errors)
    return {
        "fold_error": fold,
        "validation_error": found,
        "validation_error_rows": float(len(other)),
    }


def _held_out(
    other: NDArray[Any] | None,
    targets: Sequence[NDArray[Any] | None],
    table: Floats,
    expected: Floats,
    predicted: Sequence[Floats],
) -> dict[str, float]:
    """R² on validation rows of the simple model that predicts unseen training rows best."""
    target = _target(targets)
    if other is None or target is None or other.shape[1:] != table.shape[1:]:
        return {}
    rows, wanted = _usable(other.astype(np.float64), target)
    if len(rows) < _FEWEST_ROWS or wanted.shape[1:] != expected.shape[1:]:
        return {}
    best = int(np.argmax([_r2(expected, answers) for answers in predicted]))
    model = _models(len(table))[best].fit(table, expected)
    return {"validation_r2": _r2(_without_far_values(wanted), model.predict(rows))}


def _r2(target: Floats, predicted: Floats) -> float:
    total = float(np.sum((target - target.mean(axis=0)) ** 2))
    error = float(np.sum((target - predicted.reshape(target.shape)) ** 2))
    return 1 - error / total if total > 0 else 0.0


def _label_noise(
    table: Floats, classes: NDArray[np.int64], answers: Sequence[NDArray[np.int64]]
) -> dict[str, float]:
    """Where neighbors agree far and wide, class overlap is over and only wrong labels deviate.

    In many dimensions, and between the many borders of graded classes, neighbors agree on wrong
    answers: a label counts as wrong if the best of `answers`, out of fold, contradicts it as well.
    """
    from sklearn.neighbors import NearestNeighbors

    scale = table.std(axis=0)
    scaled = (table - table.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    neighbors = min(_NEIGHBORS, len(table) // 4)
    search = NearestNeighbors(n_neighbors=neighbors + 1).fit(scaled)
    around = search.kneighbors(scaled, return_distance=False)[:, 1:]
    # Each row's own label is left out of its vote, so that a wrong one stands against the others.
    believed = _one_hot(classes)[around].sum(axis=1).argmax(axis=1)
    if len(np.unique(believed)) < 2:
        return {}
    deep = _distance_to_other_class(scaled, believed)
    interior = deep >= np.quantile(deep, 1 - _INTERIOR_SHARE)
    by_neighbors = believed != classes
    wrong = by_neighbors
    if by_neighbors[interior].any():
        answers = [*answers, *_discriminant_answers(table, classes)]
        wrong = by_neighbors & (min(answers, key=lambda a: np.mean(a != classes)) != classes)
    return {
        "label_noise": float(np.mean(wrong[interior])),
        "label_noise_rows": float(interior.sum()),
        "contradicted": float(np.mean(wrong)),
        "neighbor_error": float(np.mean(by_neighbors)),
    }


def _discriminant_answers(table: Floats, classes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """A linear discriminant's answers, which a regression on indicators masks where the classes
    are grades; none where folds could miss a class."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import cross_val_predict

    if np.unique(classes, return_counts=True)[1].min() >= 2 * _FOLDS:
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        yield np.asarray(cross_val_predict(model, table, classes, cv=_FOLDS))


def _distance_to_other_class(scaled: Floats, believed: NDArray[np.int64]) -> Floats:
    from sklearn.neighbors import NearestNeighbors

    distance = np.zeros(len(scaled))
    for label in np.unique(believed):
        own = believed == label
        search = NearestNeighbors(n_neighbors=1).fit(scaled[~own])
        distance[own] = search.kneighbors(scaled[own])[0][:, 0]
    return distance


def _conflicts(table: Floats, classes: NDArray[np.int64]) -> float:
    _, group = np.unique(table, axis=0, return_inverse=True)
    group = group.reshape(-1)
    low = np.full(group.max() + 1, np.iinfo(np.int64).max)
    high = np.full(group.max() + 1, -1)
    np.minimum.at(low, group, classes)
    np.maximum.at(high, group, classes)
    return float(np.mean((low != high)[group]))


def _overlap(table: NDArray[Any], validation: NDArray[Any] | None, rows: int) -> dict[str, float]:
    if validation is None or validation.shape[1] != table.shape[1] or not len(validation):
        return {}
    known = {row.tobytes() for row in np.ascontiguousarray(table.astype(np.float32))}
    asked = np.ascontiguousarray(validation.astype(np.float32))
    matches = sum(row.tobytes() in known for row in asked)
    sampled = len(table) / max(rows, len(table))
    return {
        "validation_overlap": min(1.0, matches / len(validation) / sampled),
        "validation_matches": float(matches),
    }
