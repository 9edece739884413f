"""Draw the pictures of a report: one function per kind of figure data, no arithmetic on records."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, SymmetricalLogLocator

from lossdoctor.evidence import (
    baseline,
    class_balance,
    class_coverage,
    decisions,
    distribution_shift,
    dropout,
    early_stopping,
    feature_variation,
    generalization,
    gradient_flow,
    gradient_growth,
    input_scale,
    label_encoding,
    loss_curve,
    metric_fit,
    mode_gap,
    outliers,
    output_head,
    predictions,
    rate_change,
    regularization,
    saturation,
    simple_models,
    step_size,
    target_scale,
    task_fit,
    unit_activity,
    update_ratio,
    weight_growth,
)
from lossdoctor.finding import Finding
from lossdoctor.record.run import RunRecord
from lossdoctor.report import figure_data, wording
from lossdoctor.report.figure_data import Bars, HeatMap, Intervals, Lines, LossCurves
from lossdoctor.rules import rule_classes

if TYPE_CHECKING:
    from lossdoctor.report.report import Report

# Okabe and Ito (2008): told apart with any color vision, readable on white and on near-black.
BLUE, ORANGE, RED, GREEN, GRAY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#808080"
PURPLE, SKY = "#CC79A7", "#56B4E9"
_COLORS = (BLUE, ORANGE, PURPLE, GREEN, SKY)
_DASHES = ("--", "-.", ":")
# Stand for the page's own colors, which are put in their place once the SVG is written.
_INK, _GRID = "#010203", "#040506"
_WIDTH = 4.6
_MARKED_EPOCHS = 30
_LONG = 32
_DECADES = 30.0
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
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "axes.formatter.use_mathtext": False,
    "text.parse_math": False,
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One kind of picture; `proves` are the kinds of evidence whose numbers it shows."""

    name: str
    title: str
    data: Callable[[RunRecord], Any]
    proves: frozenset[type] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of one report, and the findings it proves."""

    picture: Picture
    title: str
    data: LossCurves | Lines | HeatMap | Bars | Intervals
    findings: tuple[Finding, ...]


def panels(report: Report) -> Iterator[Panel]:
    """Every picture the record has data for."""
    for picture in PICTURES:
        proven = tuple(f for f in report.findings if picture.proves & _judged_by(f))
        if picture.name == "loss":
            data: Any = figure_data.loss_curves(report.record, proven)
        else:
            data = picture.data(report.record)
        if data is not None:
            yield Panel(picture=picture, title=_title(picture, data), data=data, findings=proven)


def draw(report: Report) -> Figure:
    """The loss curves and every picture that proves a finding, in one figure."""
    if "ipykernel" in sys.modules and "inline" in mpl.get_backend():
        # A notebook learns to display figures when pyplot first draws one, and this is none of its.
        importlib.import_module("matplotlib_inline.backend_inline")
    problems = set(map(id, report.problems))
    shown = [
        panel
        for panel in panels(report)
        if panel.picture.name == "loss" or problems & set(map(id, panel.findings))
    ]
    with mpl.rc_context(_STYLE):
        heights = [_height(panel.data) + 0.25 for panel in shown] or [1.2]
        figure = Figure(figsize=(_WIDTH + 1.4, sum(heights)), layout="constrained")
        if not shown:
            figure.text(0.5, 0.5, "Nothing to draw: no history was recorded.", ha="center")
            return figure
        parts = figure.subfigures(len(shown), 1, height_ratios=heights, squeeze=False)
        for part, panel in zip(parts.flat, shown):
            part.suptitle(panel.title, x=0.02, ha="left", fontsize="medium", fontweight="bold")
            _draw(part, panel.data)
        _lay_out(figure)
    return figure


def svg(panel: Panel) -> str:
    """The picture, without its title, as an SVG element in the colors of the page around it."""
    ink: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK
    )
    style = _STYLE | ink | {"grid.color": _GRID, "svg.hashsalt": panel.picture.name}
    with mpl.rc_context(style):
        figure = Figure(figsize=(_WIDTH, _height(panel.data)), layout="constrained")
        _draw(figure, panel.data)
        _lay_out(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", dpi=150, transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return text.replace(_INK, "currentColor").replace(_GRID, "rgba(128, 128, 128, 0.25)")


def _judged_by(finding: Finding) -> set[type]:
    """The evidence a rule judges by; what it asks for later only words its remedies."""
    rule = rule_classes().get(finding.rule)
    hints = list(rule.evidence().values())[:2] if rule else []
    return {kind for hint in hints for kind in (get_args(hint) or (hint,))}


def _title(picture: Picture, data: Any) -> str:
    if isinstance(data, LossCurves) and len(data.learning_rate) and not _varies(data.learning_rate):
        return f"{picture.title} at a learning rate of {wording.number(data.learning_rate[0])}"
    if isinstance(data, Intervals) and data.left_out:
        shown, every = len(data.names), len(data.names) + data.left_out
        return f"{picture.title}, the {shown} most extreme of {every:,}"
    return picture.title


def _height(data: Any) -> float:
    """Height in inches."""
    if isinstance(data, LossCurves):
        marked = len(data.references) + len(data.onsets) + (data.non_finite is not None)
        return (3.5 if _varies(data.learning_rate) else 2.6) + 0.15 * marked
    if isinstance(data, Lines):
        return 2.4
    if isinstance(data, HeatMap):
        return 0.9 + 0.22 * min(max(len(data.layers), 5), 24)
    rows = len(data.names) * (len(data.series) if isinstance(data, Bars) else 1.2)
    return float(1.0 + 0.2 * max(rows, 3))


def _draw(figure: Any, data: Any) -> None:
    if isinstance(data, LossCurves):
        _draw_loss(figure, data)
        return
    axes: Axes = figure.subplots()
    if isinstance(data, Lines):
        _draw_lines(axes, data)
    elif isinstance(data, HeatMap):
        _draw_heat(figure, axes, data)
    elif isinstance(data, Bars):
        _draw_bars(axes, data)
    else:
        _draw_intervals(axes, data)
    _legend(figure, axes)


def _draw_loss(figure: Any, data: LossCurves) -> None:
    if _varies(data.learning_rate):
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    else:
        axes, below = figure.subplots(), None
    # Where no epoch ended with a number, the batches are all there is to see.
    alone = not any(np.isfinite(values).any() for values in data.curves.values())
    if np.isfinite(data.batch_loss).any():
        width, alpha = (1.8, 1.0) if alone else (0.6, 0.45)
        axes.plot(data.batch_x, data.batch_loss, color=GRAY, lw=width, alpha=alpha, label="batch")
    marker = "o" if len(data.x) <= _MARKED_EPOCHS else None
    for (name, values), color in zip(data.curves.items(), _COLORS):
        if np.isfinite(values).any():
            axes.plot(data.x, values, color=color, marker=marker, ms=3, label=name)
    for (value, label), dashes in zip(data.references, _DASHES):
        axes.axhline(value, color=GREEN, ls=dashes, lw=1.2, label=label)
    for (place, label), dashes in zip(data.onsets, reversed(_DASHES)):
        axes.axvline(place, color=RED, ls=dashes, lw=1.4, label=f"onset: {label}")
    if data.non_finite is not None:
        axes.axvspan(data.non_finite, data.end + 1, color=RED, alpha=0.12, label="NaN or infinite")
    axes.yaxis.set_major_formatter(_plain)
    if data.logarithmic:
        _logarithmic(axes, "y")
    axes.set_ylabel("loss")
    if below is not None:
        below.plot(data.x, data.learning_rate, color=BLUE, lw=1.4, drawstyle="steps-post")
        below.set_ylabel("learning\nrate")
        if _spans(data.learning_rate):
            _logarithmic(below, "y")
    (axes if below is None else below).set_xlabel(data.x_label)
    _whole_numbers(axes)
    start = min([data.x[0], *data.batch_x[:1]])
    margin = 0.03 * (data.end - start) or 0.5
    axes.set_xlim(start - margin, data.end + margin)
    _legend(figure, axes)


def _draw_lines(axes: Axes, data: Lines) -> None:
    if data.band is not None:
        label, low, high = data.band
        axes.fill_between(data.x, low, high, color=SKY, alpha=0.35, lw=0, label=label)
    marker = "o" if len(data.x) <= _MARKED_EPOCHS else None
    for (name, values), color in zip(data.curves.items(), _COLORS):
        axes.plot(data.x, values, color=color, marker=marker, ms=3, label=_short(name))
    for (value, label), dashes in zip(data.references, _DASHES):
        axes.axhline(value, color=GREEN, ls=dashes, lw=1.2, label=label)
    axes.yaxis.set_major_formatter(_plain)
    if data.logarithmic:
        _logarithmic(axes, "y")
    axes.set_xlabel(data.x_label)
    axes.set_ylabel(data.y_label)
    _whole_numbers(axes)


def _draw_heat(figure: Any, axes: Axes, data: HeatMap) -> None:
    edges = np.append(data.step, 2 * data.step[-1] - data.step[-2])
    low, high = np.nanmin(data.values), np.nanmax(data.values)
    image = axes.pcolormesh(
        edges,
        np.arange(len(data.layers) + 1) - 0.5,
        np.ma.masked_invalid(data.values),
        norm=LogNorm(low, high if high > low else 10 * low),
        cmap="cividis",
        rasterized=True,  # as vectors the cells show seams, and are many
    )
    axes.grid(visible=False)
    axes.invert_yaxis()
    axes.set_xlabel("step")
    _whole_numbers(axes)
    shown = list(range(0, len(data.layers), -(-len(data.layers) // 24)))
    axes.set_yticks(shown, [_short(data.layers[row]) for row in shown])
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, label=data.unit)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(LogLocator(numticks=5))
    bar.ax.yaxis.set_major_formatter(_plain)
    bar.ax.yaxis.set_minor_formatter(NullFormatter())


def _draw_bars(axes: Axes, data: Bars) -> None:
    rows = np.arange(len(data.names))
    width = 0.8 / len(data.series)
    for number, (label, shares) in enumerate(data.series.items()):
        places = rows - 0.4 + (number + 0.5) * width
        shown = 100 * np.nan_to_num(shares)
        axes.barh(places, shown, 0.9 * width, color=_COLORS[number], label=label)
    if data.reference is not None:
        value, label = data.reference
        axes.axvline(100 * value, color=GREEN, ls="--", lw=1.2, label=label)
    _name_rows(axes, data.names)
    axes.set_xlim(0, None if data.reference else 100)
    axes.set_xlabel(data.label)


def _draw_intervals(axes: Axes, data: Intervals) -> None:
    rows = np.arange(len(data.names))
    ends = [*data.inner, *(data.outer or ())]
    if _spans(np.abs(np.concatenate([*ends, [1.0]]))):
        axes.set_xscale("symlog", linthresh=1.0)
        axes.xaxis.set_major_locator(SymmetricalLogLocator(linthresh=1.0, base=10))
        axes.xaxis.set_major_formatter(_plain)
    if data.expected is not None:
        low, high, label = data.expected
        # One end may lie at infinity, where there is nothing to draw.
        least, most = float(np.nanmin(ends)), float(np.nanmax(ends))
        room = 0.1 * (most - least)
        low = low if np.isfinite(low) else min(least - room, high)
        high = high if np.isfinite(high) else max(most + room, low)
        axes.axvspan(low, high, color=GREEN, alpha=0.15, lw=0, label=label)
    if data.outer is not None:
        axes.hlines(rows, *data.outer, color=GRAY, lw=1.2, label="lowest to highest")
    axes.hlines(rows, *data.inner, color=BLUE, lw=5, label=data.bulk)
    axes.plot(data.center, rows, "o", color=ORANGE, ms=4)
    _name_rows(axes, data.names)
    axes.set_xlabel(data.label)


def _name_rows(axes: Axes, names: tuple[str, ...]) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _lay_out(figure: Figure) -> None:
    # The first pass changes which ticks there are, and with them the room their labels need.
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def _legend(figure: Any, axes: Axes) -> None:
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        figure.legend(loc="outside lower left", ncols=1 if max(map(len, labels)) > _LONG else 2)


def _whole_numbers(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(_plain)


def _logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_formatter(_plain)
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, _: Any) -> str:
    """Tick labels; Matplotlib's own are formulas, which would need its math fonts in the SVG."""
    return wording.number(float(value))


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _varies(rates: Any) -> bool:
    finite = rates[np.isfinite(rates)]
    return bool(len(finite)) and bool(finite.min() != finite.max())


def _spans(values: Any) -> bool:
    positive = values[np.isfinite(values) & (values > 0)]
    return bool(len(positive) and positive.max() > _DECADES * positive.min())


PICTURES = (
    Picture(
        name="loss",
        title="Loss",
        data=figure_data.loss_curves,
        proves=frozenset(
            {
                loss_curve.LossCurve,
                baseline.Baseline,
                generalization.Generalization,
                rate_change.RateChanges,
                regularization.Regularization,
                dropout.DropoutUse,
                mode_gap.ModeGap,
                simple_models.SimpleModels,
                early_stopping.EarlyStopping,
            }
        ),
    ),
    Picture(
        name="metric",
        title="Metric",
        data=figure_data.metric_curves,
        proves=frozenset(
            {decisions.Decisions, metric_fit.MetricFit, generalization.Generalization}
        ),
    ),
    Picture(
        name="answers",
        title="Targets and predictions of the first output",
        data=figure_data.answers,
        proves=frozenset(
            {
                output_head.OutputHeads,
                label_encoding.LabelEncoding,
                task_fit.TaskFit,
                predictions.Predictions,
                predictions.Saturation,
                target_scale.TargetScale,
                outliers.TargetOutliers,
            }
        ),
    ),
    Picture(
        name="decisions",
        title="Classes as they occur and as the model decides",
        data=figure_data.decided_classes,
        proves=frozenset(
            {
                output_head.OutputHeads,
                label_encoding.LabelEncoding,
                task_fit.TaskFit,
                predictions.Predictions,
                predictions.Saturation,
                decisions.Decisions,
            }
        ),
    ),
    Picture(
        name="features",
        title="Scale of the input features",
        data=figure_data.feature_scales,
        proves=frozenset(
            {
                input_scale.InputScale,
                feature_variation.FeatureVariation,
                outliers.InputOutliers,
            }
        ),
    ),
    Picture(
        name="gradient_norm",
        title="Size of the gradient",
        data=figure_data.gradient_norm,
        proves=frozenset({gradient_growth.GradientGrowth}),
    ),
    Picture(
        name="gradients",
        title="Gradient by layer, input at the top",
        data=figure_data.gradient_heat_map,
        proves=frozenset({gradient_flow.GradientFlow}),
    ),
    Picture(
        name="update_band",
        title="Update ratio: how far a step moves the weights",
        data=figure_data.update_band,
        proves=frozenset({step_size.StepSize}),
    ),
    Picture(
        name="updates",
        title="Update ratio by layer, input at the top",
        data=figure_data.update_heat_map,
        proves=frozenset({update_ratio.UpdateRatio}),
    ),
    Picture(
        name="kernels",
        title="Growth of the kernels",
        data=figure_data.kernel_norms,
        proves=frozenset({weight_growth.WeightGrowth}),
    ),
    Picture(
        name="units",
        title="Units that no longer learn",
        data=figure_data.unit_shares,
        proves=frozenset({unit_activity.UnitActivity, saturation.Saturation}),
    ),
    Picture(
        name="classes",
        title="Class balance",
        data=figure_data.class_shares,
        proves=frozenset(
            {
                class_balance.ClassBalance,
                class_coverage.ClassCoverage,
                distribution_shift.DistributionShift,
            }
        ),
    ),
    Picture(
        name="shift",
        title="Validation inputs on the scale of the training inputs",
        data=figure_data.shift,
        proves=frozenset({distribution_shift.DistributionShift}),
    ),
)
