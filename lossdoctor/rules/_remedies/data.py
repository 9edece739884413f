"""Remedies that change the data: scale it, clean it, weigh it."""

from __future__ import annotations

import math
from dataclasses import replace

from lossdoctor.evidence.data_quality import Tensor
from lossdoctor.evidence.input_scale import MissetRange, ScaledInput
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.target_scale import ScaledTarget
from lossdoctor.finding import Remedy
from lossdoctor.record.run import LayerRecord
from lossdoctor.rules._remedies.architecture import change_layers
from lossdoctor.rules._remedies.code import compile_code, layer_code

_ALL_BUT_FEATURES = "tuple(range(max(values.ndim - 1, 1)))"
_SKEWED = 2.0
_FEW_ROWS = 0.05
_FINE = 0.03, 10.0
_BACK = "# predictions in the target's own unit: model.predict(X) * y_std + y_mean"
_ADAPT = "normalization = keras.layers.Normalization()\nnormalization.adapt({})\n"
_USUAL_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


def scale_inputs(scaled: ScaledInput, setup: Setup) -> list[Remedy]:
    """Scale the data, or else let the model do it; ids want another treatment."""
    if scaled.misset is not None:
        return [_set_range(scaled.misset, setup)]
    if scaled.unadapted is not None:
        return [_adapt(scaled.unadapted, setup)]
    remedies = [_scaled_data(scaled, setup)]
    if setup.fit.data == "dataset" and len(setup.model.inputs) == 1 and scaled.gain == 1:
        remedies = [replace(remedies[0], code=_scaled_dataset(scaled, setup))]
    if setup.model.kind == "sequential" and scaled.gain == 1:
        remedies.append(_scaled_in_model(scaled, setup))
    if scaled.looks_like_ids:
        remedies.append(
            Remedy(
                text="If these whole numbers are ids (words, categories), their size means "
                "nothing: put an Embedding layer first, or one-hot encode them."
            )
        )
    return remedies


def _adapt(layer: LayerRecord, setup: Setup) -> Remedy:
    """Let the model's own `Normalization` see the training rows."""
    return Remedy(
        text=f"Let '{layer.name}' see the training rows before the model is compiled: until it has "
        "adapted, its mean is 0, its variance 1, and it passes on what it reads.",
        code=f"{layer_code(setup, layer.name)}.adapt({_training_rows(setup)})\n"
        + compile_code(setup),
    )


def _training_rows(setup: Setup) -> str:
    """What a `Normalization` adapts to."""
    return "train_ds.map(lambda x, *rest: x)" if setup.fit.data == "dataset" else "np.asarray(X)"


def _set_range(misset: MissetRange, setup: Setup) -> Remedy:
    """Tell an augmentation the range of the values it reads."""
    low, high = misset.low, misset.high
    usual = next((r for r in _USUAL_RANGES if r[0] <= low and high <= r[1]), (low, high))
    return Remedy(
        text=f"Set '{misset.layer.name}' for the range of the values it reads: what it adds counts "
        "in that range, which is [0, 255] unless told otherwise.",
        code=change_layers(setup, {misset.layer.name: {"value_range": list(usual)}}),
    )


def _scaled_data(scaled: ScaledInput, setup: Setup) -> Remedy:
    """Mean 0 and standard deviation 1 for every feature, or pixels in [0, 1]."""
    if scaled.looks_like_pixels:
        return Remedy(
            text="Divide the pixels by 255 before training and wherever you predict: the initial "
            "weights are made for inputs around 1, and pixels have a range known in advance.",
            code=_apply(scaled, setup, "", '{}.astype("float32") / 255'),
        )
    undo = "{}" if scaled.gain == 1 else f"(({{}} - {scaled.shift!r}) / {scaled.gain!r})"
    if (
        scaled.gain != 1
        and _FINE[0] <= math.hypot(scaled.summary.mean, scaled.summary.std) <= _FINE[1]
    ):
        return Remedy(
            text="Scale once: the model's own Rescaling scales these data a second time. Take that "
            "layer out of the model, or give it the data as they were before, here and wherever "
            "you predict.",
            code=_apply(scaled, setup, "", undo.format("np.asarray({})") + '.astype("float32")'),
        )
    axes = "0" if len(scaled.summary.shape) < 2 else "tuple(range(values.ndim - 1))"
    return Remedy(
        text="Standardize each feature with the mean and standard deviation of the training rows, "
        "and put everything the model sees later through the same numbers; this cures every rate "
        "and optimizer at once, which a smaller learning rate would not.",
        code=_apply(
            scaled,
            setup,
            'values = np.asarray({X}, dtype="float64")\n'
            f"mean, std = values.mean(axis={axes}), values.std(axis={axes})\n"
            "std = np.where(std > 0, std, 1.0)  # constant features become 0\n",
            undo.format("((np.asarray({}) - mean) / std)") + '.astype("float32")',
        ),
    )


def _apply(scaled: ScaledInput, setup: Setup, prepare: str, transform: str) -> str:
    """Code that transforms one input of both sides; lists of several inputs are kept as lists."""
    names = setup.sides("X")
    if len(setup.model.inputs) == 1:
        lines = [f"{name} = {transform.format(name)}" for name in names]
        return prepare.replace("{X}", "X") + "\n".join(lines)
    place = f"[{scaled.index}]"
    lines = [f"{name} = list({name})" for name in names]
    if prepare:
        lines.append(prepare.replace("{X}", f"X{place}").rstrip())
    lines += [f"{name}{place} = {transform.format(name + place)}" for name in names]
    return "\n".join(lines)


def _scaled_dataset(scaled: ScaledInput, setup: Setup) -> str:
    if scaled.looks_like_pixels:
        return _mapped(setup, "x, *rest", '(tf.cast(x, "float32") / 255, *rest)')
    return _ADAPT.format(_training_rows(setup)) + _mapped(
        setup, "x, *rest", "(normalization(x), *rest)"
    )


def _mapped(setup: Setup, given: str, result: str) -> str:
    names = [f"{name}_ds" for name in ("train", "val")][: len(setup.known_sides("X"))]
    return f"scale = lambda {given}: {result}\n" + "\n".join(
        f"{name} = {name}.map(scale)" for name in names
    )


def _scaled_in_model(scaled: ScaledInput, setup: Setup) -> Remedy:
    if scaled.looks_like_pixels:
        layer, prepare, text = "keras.layers.Rescaling(1 / 255)", "", "a Rescaling layer."
    else:
        layer, prepare = "normalization", _ADAPT.format(_training_rows(setup))
        text = "a Normalization layer that has seen the training inputs."
    return Remedy(
        text=f"Or let the model do it, so that saved models accept raw data: {text}",
        code=f"{prepare}model = keras.Sequential([{layer}, *model.layers])\n" + compile_code(setup),
    )


def scale_targets(target: ScaledTarget, setup: Setup) -> list[Remedy]:
    """Standardize the targets; for positive skewed ones their logarithm as the alternative."""
    remedies = _scaled_targets(target, setup)
    if setup.fit.data == "dataset" and len(setup.model.outputs) == 1:
        code = (
            "values = np.concatenate([np.asarray(y) for _, y, *_ in train_ds])\n"
            "y_mean, y_std = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-6)\n"
            + _mapped(setup, "x, y, *rest", '(x, (tf.cast(y, "float32") - y_mean) / y_std, *rest)')
            + f"\n{_BACK}"
        )
        remedies[0] = replace(remedies[0], code=code)
    return remedies


def _scaled_targets(target: ScaledTarget, setup: Setup) -> list[Remedy]:
    place = "" if len(setup.model.outputs) == 1 else f"[{target.head.index}]"
    names = setup.sides("y")
    as_lists = "".join(f"{name} = list({name})\n" for name in names) if place else ""
    remedies = [
        Remedy(
            text="Standardize the targets with the training rows' mean and standard deviation, and "
            "turn predictions back with the same two numbers; "
            + (
                "a smaller learning rate would only trade the instability for slowness."
                if target.step is not None
                else "a larger rate or more epochs would have to bring the head there first."
            ),
            code=as_lists + f'values = np.asarray(y{place}, dtype="float64")\n'
            "y_mean, y_std = values.mean(axis=0), values.std(axis=0)\n"
            "y_std = np.where(y_std > 0, y_std, 1.0)\n"
            + "".join(
                f'{y} = ((np.asarray({y}) - y_mean) / y_std).astype("float32")\n'
                for y in (name + place for name in names)
            )
            + _BACK,
        )
    ]
    if target.summary.min > 0 and target.summary.skewness > _SKEWED:
        remedies.append(
            Remedy(
                text=f"Or learn their logarithm: they are all positive and skewed (skewness "
                f"{target.summary.skewness:.1f}), as prices and counts are. Standardize it as "
                "above; np.exp turns predictions back.",
                code=as_lists + "\n".join(f"{n}{place} = np.log({n}{place})" for n in names),
            )
        )
    return remedies


def scale_both(setup: Setup, largest: float) -> Remedy:
    """Bring inputs, and the targets that repeat them, into the range of a sigmoid."""
    names = [*setup.sides("X"), *setup.sides("y")]
    return Remedy(
        text=f"Divide inputs and targets by {largest:g}: the targets are the inputs, and both then "
        "lie between 0 and 1, as the sigmoid's answers and what the initial weights are made for.",
        code="\n".join(
            f'{name} = np.asarray({name}, dtype="float32") / {largest:g}' for name in names
        ),
    )


def clip_inputs(place: str, setup: Setup) -> Remedy:
    """Draw in what lies beyond 99.8 % of the rows, then standardize."""
    return Remedy(
        text="Clip every feature to the range of 99.8 % of the training rows, then standardize: "
        "scaling alone would squeeze all other values together.",
        code=f"values = np.asarray(X{place})\n"
        f"axes = {_ALL_BUT_FEATURES}\n"
        "low, high = np.quantile(values, [0.001, 0.999], axis=axes)\n"
        "values = np.clip(values, low, high)\n"
        "mean, std = values.mean(axis=axes), values.std(axis=axes)\n"
        "std = np.where(std > 0, std, 1.0)\n"
        + "\n".join(
            f"{x} = (np.clip({x}, low, high) - mean) / std"
            for x in (name + place for name in setup.sides("X"))
        ),
    )


def shuffle_rows(setup: Setup, rows: int, feeding: bool) -> Remedy:
    """Shuffle `rows` rows once, before they are split or (`feeding`) fed to the model."""
    code = (
        "order = np.random.default_rng(0).permutation(len(X))\n"
        "X, y = np.asarray(X)[order], np.asarray(y)[order]"
    )
    if not feeding:
        return Remedy(
            text="Shuffle inputs and labels together before anything is split off: "
            "`validation_split` never shuffles, and a stratified split (sklearn.model_selection."
            "train_test_split(..., stratify=y)) keeps the shares of the classes.",
            code=code,
        )
    whole = f"train_ds.unbatch().shuffle({rows}).batch({setup.fit.batch_size or 32})"
    return Remedy(
        text="Shuffle inputs and labels together before anything is split off, and leave shuffle "
        "at True (for a tf.data.Dataset: .shuffle(number of examples) before .batch).",
        code=f"train_ds = {whole}"
        if setup.fit.data == "dataset" and rows
        else f"{code}\nshuffle = True",
    )


def split_again(setup: Setup, why: str) -> Remedy:
    """Shuffle before the validation rows are split off."""
    if setup.fit.validation_split:
        return Remedy(
            text=f"Shuffle before splitting{why}: `validation_split` takes the tail as it stands.",
            code="order = np.random.default_rng(0).permutation(len(X))\n"
            "X, y = np.asarray(X)[order], np.asarray(y)[order]"
            if len(setup.model.inputs) == len(setup.model.outputs) == 1
            else "",
        )
    return Remedy(
        text=f"Shuffle before splitting{why}.",
        code="from sklearn.model_selection import train_test_split\n"
        "share = len(X_val) / (len(X) + len(X_val))\n"
        "X, y = np.concatenate([X, X_val]), np.concatenate([y, y_val])\n"
        "X, X_val, y, y_val = train_test_split(X, y, test_size=share, random_state=0, "
        "stratify=np.argmax(y, axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y)",
    )


def replace_code(value: float, place: str, setup: Setup) -> Remedy:
    """Put the median where a code stands."""
    return Remedy(
        text=f"Replace {value:g} by each column's median over the other rows; scaling would keep "
        "it an outlier, clipping would keep it wrong.",
        code=f'values = np.asarray(X{place}, dtype="float64")\n'
        f"values = np.where(values == {value:g}, np.nan, values)\n"
        f"median = np.nanmedian(values, axis={_ALL_BUT_FEATURES})\n"
        + "\n".join(
            f"{x} = np.where(np.asarray({x}) == {value:g}, median, {x})"
            for x in (name + place for name in setup.sides("X"))
        ),
    )


def replace_scaled_codes(distance: float, place: str, setup: Setup) -> Remedy:
    """Put the medians where codes stand that were scaled with their columns, and scale anew."""
    sides = [name + place for name in setup.sides("X")]
    return Remedy(
        text="Replace the codes by the median of the other rows before the columns are scaled: "
        "scaled together with them, the other values hardly differ.",
        code="\n".join(f'{x} = np.array({x}, dtype="float64")' for x in sides)
        + f"\nfor i, column in enumerate({sides[0]}.T.copy()):\n"
        "    for code in {column.min(), column.max()}:\n"
        "        others = column[~np.isclose(column, code)]\n"
        "        several = len(column) - len(others) > 1\n"
        f"        if several and abs(code - others.mean()) > {distance:g} * others.std() > 0:\n"
        f"            for values in [{', '.join(sides)}]:\n"
        "                values[np.isclose(values[:, i], code), i] = np.median(others)\n"
        "                values[:, i] = (values[:, i] - others.mean()) / others.std()",
    )


def drop_or_impute(tensor: Tensor, other_side: bool, setup: Setup) -> Remedy:
    """Get NaN and infinities out: drop few rows, fill the columns of many with the median."""
    sides = [("X", "y")] if not tensor.validation or setup.fit.validation_split else []
    if (tensor.validation or other_side) and not setup.fit.validation_split:
        sides.append(("X_val", "y_val"))
    if tensor.kind == "weight":
        return Remedy(
            text="Give every example a finite weight: 0 leaves it out, 1 counts it like the others."
        )
    several = len(setup.model.inputs if tensor.kind == "input" else setup.model.outputs) > 1
    if several:
        return Remedy(
            text=f"Leave out the examples in which {tensor.name} is not finite, from every input "
            "and every target alike, or fill its columns with their median."
        )
    if tensor.kind == "target" or tensor.bad_row_share <= _FEW_ROWS:
        why = (
            "a target cannot be guessed"
            if tensor.kind == "target"
            else "so few cost nothing, while a filled-in value is a guess"
        )
        return Remedy(
            text=f"Leave out the examples with such entries: {why}.",
            code="\n".join(
                f'values = np.asarray({x if tensor.kind == "input" else y}, dtype="float64")\n'
                "keep = np.isfinite(values).reshape(len(values), -1).all(axis=1)\n"
                f"{x}, {y} = np.asarray({x})[keep], np.asarray({y})[keep]"
                for x, y in sides
            ),
        )
    return Remedy(
        text=f"Fill the gaps with each column's median: leaving out {tensor.bad_row_share:.0%} of "
        "the examples would cost too many.",
        code='values = np.asarray(X, dtype="float64")\n'
        "values = np.where(np.isfinite(values), values, np.nan)\n"
        "median = np.nan_to_num(np.nanmedian(values, axis=0))\n"
        + "\n".join(f"{x} = np.where(np.isfinite({x}), {x}, median)" for x, _ in sides),
    )


def make_numeric(tensor: Tensor, setup: Setup) -> Remedy:
    """Turn strings or objects into numbers."""
    names = setup.known_sides("X" if tensor.kind == "input" else "y")
    if tensor.kind != "target" or tensor.holds_numerals:
        if tensor.holds_numerals or not tensor.summary.strings:
            return Remedy(
                text="The values are numbers kept as text or objects: convert them once.",
                code="\n".join(f'{n} = np.asarray({n}).astype("float32")' for n in names),
            )
        return Remedy(
            text="One-hot encode the columns that hold words (sklearn.preprocessing."
            "OneHotEncoder), or give each an Embedding behind keras.layers.StringLookup."
        )
    return Remedy(
        text="Number the classes: Keras' losses and metrics know no names.",
        code="classes, y = np.unique(y, return_inverse=True)\n"
        + "".join(f"{name} = np.searchsorted(classes, {name})\n" for name in names[1:])
        + "# names of predictions: classes[model.predict(X).argmax(axis=-1)]",
    )
