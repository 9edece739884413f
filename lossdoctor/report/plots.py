"""Draw the pictures of a report: one function per kind of figure data, no arithmetic on records."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lossdoctor.finding import Finding
from lossdoctor.record.run import RunRecord
from lossdoctor.report import figure_data, wording
from lossdoctor.report.figure_data import (
    ClassShares,
    FeatureScales,
    HeatMap,
    LossCurves,
    Shift,
    UnitShares,
    UpdateBand,
)
from lossdoctor.rules import rule_classes

if TYPE_CHECKING:
    from lossdoctor.report.report import Report

# Okabe and Ito (2008): told apart with any color vision, readable on white and on near-black.
BLUE, ORANGE, RED, GREEN, GRAY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#808080"
# Stand for the page's own colors, which are put in their place once the SVG is written.
_INK, _GRID = "#010203", "#040506"
_WIDTH = 6.0
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "axes.formatter.use_mathtext": False,
    "text.parse_math": False,
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One kind of picture.

    `proves` names the modules of evidence it shows: it proves the findings of rules that ask for
    evidence from one of them.
    """

    name: str
    caption: str
    data: Callable[[RunRecord, tuple[Finding, ...]], Any]
    draw: Callable[[Figure, Any], None]
    height: Callable[[Any], float]
    proves: frozenset[str] = frozenset()


def pictures_for(finding: Finding, record: RunRecord) -> tuple[Picture, ...]:
    """The pictures that prove `finding`: those of the evidence its rule rests on."""
    rule = rule_classes().get(finding.rule)
    if rule is None:
        return ()
    # A rule names what it judges by first; what comes later only words its remedies.
    hints = list(rule.evidence().values())[:2]
    kinds = [kind for hint in hints for kind in (get_args(hint) or (hint,))]
    asked = {kind.__module__.rpartition(".")[2] for kind in kinds}
    return tuple(
        picture
        for picture in PICTURES
        if picture.proves & asked and picture.data(record, ()) is not None
    )


def draw(report: Report) -> Figure:
    """The loss curves and every picture that proves a finding, in one figure."""
    if "ipykernel" in sys.modules and "inline" in mpl.get_backend():
        # A notebook learns to display figures when pyplot first draws one, and this is none of its.
        importlib.import_module("matplotlib_inline.backend_inline")
    proving = {p.name for f in report.problems for p in pictures_for(f, report.record)}
    panels = [
        (picture, data)
        for picture in PICTURES
        if (picture.name in proving or picture.name == "loss")
        and (data := picture.data(report.record, report.problems)) is not None
    ]
    with mpl.rc_context(_STYLE):
        heights = [picture.height(data) for picture, data in panels] or [1.2]
        figure = Figure(figsize=(_WIDTH + 1, sum(heights)), layout="constrained")
        if not panels:
            figure.text(0.5, 0.5, "Nothing to draw: no history was recorded.", ha="center")
            return figure
        parts = figure.subfigures(len(panels), 1, height_ratios=heights, squeeze=False)
        for part, (picture, data) in zip(parts.flat, panels):
            picture.draw(part, data)
    return figure


def svg(picture: Picture, record: RunRecord, findings: tuple[Finding, ...]) -> str:
    """The picture as an SVG element in the colors of the page around it; "" if it has no data."""
    data = picture.data(record, findings)
    if data is None:
        return ""
    ink: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK
    )
    style = _STYLE | ink | {"grid.color": _GRID, "svg.hashsalt": picture.name}
    with mpl.rc_context(style):
        figure = Figure(figsize=(_WIDTH, picture.height(data)), layout="constrained")
        picture.draw(figure, data)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return text.replace(_INK, "currentColor").replace(_GRID, "rgba(128, 128, 128, 0.25)")


def _draw_loss(figure: Any, data: LossCurves) -> None:
    if _varies(data.learning_rate):
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    else:
        top, bottom = figure.subplots(), None
    if len(data.batch_loss):
        # Where no epoch ended with a number, the batches are all there is to see.
        alone = not any(np.isfinite(values).any() for values in data.curves.values())
        width, alpha = (1.8, 1.0) if alone else (0.7, 0.6)
        top.plot(
            data.batch_epoch, data.batch_loss, color=GRAY, lw=width, alpha=alpha, label="batch"
        )
    for (name, values), color in zip(data.curves.items(), (BLUE, ORANGE)):
        marker = "o" if len(data.epoch) <= 30 else None
        top.plot(data.epoch, values, color=color, lw=1.8, marker=marker, ms=3, label=name)
    if data.baseline is not None and np.isfinite(data.baseline):
        top.axhline(data.baseline, color=GREEN, ls="--", lw=1.2, label="best constant prediction")
    for position, epoch in enumerate(dict.fromkeys(epoch for epoch, _ in data.onsets)):
        label = f"onset: {data.onsets[0][1]}" if position == 0 else None
        top.axvline(epoch, color=RED, ls=":", lw=1.4, label=label)
    if data.non_finite is not None:
        top.axvspan(data.non_finite, data.end + 1, color=RED, alpha=0.12)
        place = ("data", "axes fraction")
        top.annotate("NaN or inf", (data.non_finite, 0.97), xycoords=place, va="top", color=RED)
    if data.logarithmic:
        _logarithmic(top, "y")
    top.set_ylabel("loss")
    figure.legend(loc="outside lower center", ncols=3)
    if bottom is not None:
        bottom.plot(data.epoch, data.learning_rate, color=BLUE, lw=1.4, drawstyle="steps-post")
        bottom.set_ylabel("learning\nrate")
        if _spans(data.learning_rate):
            _logarithmic(bottom, "y")
    (bottom if bottom is not None else top).set_xlabel("epoch")
    start = min([data.epoch[0], *data.batch_epoch[:1]])
    margin = 0.04 * (data.end - start) or 0.5
    top.set_xlim(start - margin, data.end + margin)
    constant = bottom is None and len(data.learning_rate)
    rate = f", learning rate {wording.number(data.learning_rate[0])}" if constant else ""
    top.set_title(f"Loss{rate}")


def _draw_heat(title: str, unit: str) -> Callable[[Any, HeatMap], None]:
    def draw_heat(figure: Any, data: HeatMap) -> None:
        axes: Axes = figure.subplots()
        values = np.ma.masked_invalid(data.values)
        image = axes.imshow(values, aspect="auto", cmap="cividis", interpolation="nearest")
        axes.grid(visible=False)
        axes.set_title(title)
        axes.set_xlabel("step (sampled)")
        ticks = np.unique(np.linspace(0, len(data.step) - 1, 6).astype(int))
        axes.set_xticks(ticks, [f"{data.step[tick]:,}" for tick in ticks])
        shown = _thinned(len(data.layers))
        axes.set_yticks(shown, [_short(data.layers[row]) for row in shown])
        bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
        bar.set_label(f"log10 {unit}")
        bar.outline.set_visible(False)

    return draw_heat


def _draw_band(figure: Any, data: UpdateBand) -> None:
    axes: Axes = figure.subplots()
    positive = np.maximum(data.low, 1e-12), np.maximum(data.high, 1e-12)
    axes.fill_between(data.step, *positive, color=BLUE, alpha=0.2, lw=0, label="all layers")
    axes.plot(data.step, np.maximum(data.median, 1e-12), color=BLUE, lw=1.6, label="median layer")
    axes.axhline(1e-3, color=GREEN, ls="--", lw=1.2, label="1e-3, the usual size")
    _logarithmic(axes, "y")
    axes.set_title("Update ratio: how far a step moves the weights")
    axes.set_ylabel("‖Δw‖ / ‖w‖")
    axes.set_xlabel("step")
    figure.legend(loc="outside lower center", ncols=3)


def _draw_features(figure: Any, data: FeatureScales) -> None:
    axes: Axes = figure.subplots()
    rows = np.arange(len(data.names))
    axes.barh(rows, data.std, color=BLUE, height=0.7, label="standard deviation")
    axes.plot(data.offset, rows, "D", color=ORANGE, ms=4, label="|mean|")
    axes.set_yticks(rows, [_short(name) for name in data.names])
    axes.invert_yaxis()
    if _spans(np.concatenate([data.std, data.offset])):
        _logarithmic(axes, "x")
    more = f" (the {len(data.names)} most extreme; {data.left_out:,} between)"
    axes.set_title("Scale of the input features" + (more if data.left_out else ""))
    axes.set_xlabel("in the feature's own unit")
    figure.legend(loc="outside lower center", ncols=3)


def _draw_classes(figure: Any, data: ClassShares) -> None:
    axes: Axes = figure.subplots()
    columns = np.arange(len(data.classes))
    both = data.validation is not None
    width = 0.4 if both else 0.7
    axes.bar(columns - width / 2 * both, 100 * data.train, width, color=BLUE, label="training")
    if data.validation is not None:
        axes.bar(
            columns + width / 2, 100 * data.validation, width, color=ORANGE, label="validation"
        )
    axes.axhline(100 / len(data.classes), color=GRAY, ls="--", lw=1, label="equal shares")
    axes.set_xticks(columns, data.classes)
    axes.set_title("Class balance")
    axes.set_xlabel("class")
    axes.set_ylabel("% of examples")
    figure.legend(loc="outside lower center", ncols=3)


def _draw_units(figure: Any, data: UnitShares) -> None:
    axes: Axes = figure.subplots()
    rows = np.arange(len(data.layers))
    axes.barh(rows - 0.2, 100 * np.nan_to_num(data.dead), 0.4, color=RED, label="dead units")
    if np.isfinite(data.saturated).any():
        saturated = 100 * np.nan_to_num(data.saturated)
        axes.barh(rows + 0.2, saturated, 0.4, color=ORANGE, label="saturated outputs")
    axes.set_yticks(rows, [_short(layer) for layer in data.layers])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_title("Units that no longer learn")
    axes.set_xlabel("% of the layer")
    figure.legend(loc="outside lower center", ncols=3)


def _draw_shift(figure: Any, data: Shift) -> None:
    axes: Axes = figure.subplots()
    rows = np.arange(len(data.names))
    axes.axvspan(-1, 1, color=BLUE, alpha=0.15, lw=0, label="training, mean ± standard deviation")
    axes.axvline(0, color=BLUE, lw=1)
    axes.errorbar(
        data.mean, rows, xerr=data.std, fmt="o", ms=4, color=ORANGE, label="validation, the same"
    )
    axes.set_yticks(rows, [_short(name) for name in data.names])
    axes.invert_yaxis()
    axes.set_title("Validation inputs on the scale of the training inputs")
    axes.set_xlabel("training standard deviations from the training mean")
    figure.legend(loc="outside lower center", ncols=3)


def _logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    # Matplotlib's own labels are formulas, which would need its math fonts in the SVG.
    axis.set_major_formatter(lambda value, _: wording.number(float(value)))
    axis.set_minor_formatter(NullFormatter())


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _thinned(count: int, most: int = 24) -> list[int]:
    return list(range(0, count, -(-count // most)))


def _varies(rates: Any) -> bool:
    finite = rates[np.isfinite(rates)]
    return bool(len(finite)) and bool(finite.min() != finite.max())


def _spans(values: Any) -> bool:
    positive = values[np.isfinite(values) & (values > 0)]
    return bool(len(positive) and positive.max() > 30 * positive.min())


def _rows(names: tuple[str, ...]) -> float:
    return 1.0 + 0.22 * min(max(len(names), 3), 24)


PICTURES = (
    Picture(
        name="loss",
        caption="Training and validation loss by epoch",
        data=figure_data.loss_curves,
        draw=_draw_loss,
        height=lambda data: 3.6 if _varies(data.learning_rate) else 2.9,
        proves=frozenset({"loss_curve", "generalization", "rate_change"}),
    ),
    Picture(
        name="gradients",
        caption="Size of the gradient in each layer over the steps of the run",
        data=lambda record, _: figure_data.gradient_heat_map(record),
        draw=_draw_heat("Gradient by layer, input at the top", "RMS gradient"),
        height=lambda data: _rows(data.layers),
        proves=frozenset({"gradient_flow", "gradient_growth", "gradient_noise"}),
    ),
    Picture(
        name="updates",
        caption="Size of the weight updates in each layer over the steps of the run",
        data=lambda record, _: figure_data.update_heat_map(record),
        draw=_draw_heat("Update ratio by layer, input at the top", "‖Δw‖/‖w‖"),
        height=lambda data: _rows(data.layers),
        proves=frozenset({"update_ratio", "weight_growth"}),
    ),
    Picture(
        name="update_band",
        caption="Update ratio over the steps of the run, against the usual 1e-3",
        data=lambda record, _: figure_data.update_band(record),
        draw=_draw_band,
        height=lambda data: 2.4,
        proves=frozenset({"step_size"}),
    ),
    Picture(
        name="features",
        caption="Standard deviation and mean of the input features",
        data=lambda record, _: figure_data.feature_scales(record),
        draw=_draw_features,
        height=lambda data: _rows(data.names),
        proves=frozenset({"input_scale", "feature_variation"}),
    ),
    Picture(
        name="classes",
        caption="Share of each class in training and validation",
        data=lambda record, _: figure_data.class_shares(record),
        draw=_draw_classes,
        height=lambda data: 2.4,
        proves=frozenset({"class_balance"}),
    ),
    Picture(
        name="units",
        caption="Share of dead units and saturated outputs in each layer",
        data=lambda record, _: figure_data.unit_shares(record),
        draw=_draw_units,
        height=lambda data: _rows(data.layers),
        proves=frozenset({"unit_activity", "saturation"}),
    ),
    Picture(
        name="shift",
        caption="Features that differ most between training and validation",
        data=lambda record, _: figure_data.shift(record),
        draw=_draw_shift,
        height=lambda data: _rows(data.names),
        proves=frozenset({"distribution_shift"}),
    ),
)
