"""A report in TensorBoard: the findings as text, what was measured as curves beside Keras' own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.gradient_growth import GradientGrowth
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.record.run import RunRecord
from lossdoctor.report import Report

RUN = "lossdoctor"
"""The subfolder, which TensorBoard shows as a run of this name."""


def write_report(report: Report, log_dir: str | os.PathLike[str]) -> Path:
    """Write `report` into the TensorBoard folder `log_dir`, as its run `lossdoctor`.

    Returns:
        The event file.

    Raises:
        OSError: If it cannot be written.
    """
    import tensorflow as tf

    now = time.time()
    folder = Path(log_dir) / RUN
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{now:.6f}.{os.getpid()}"
    summary = tf.compat.v1.Summary
    metadata = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "text"})
    text = summary.Value(
        tag=f"{RUN}/report",
        tensor=tf.make_tensor_proto(report.render("markdown").encode()),
        metadata=metadata,
    )
    curves = [
        (epoch, summary.Value(tag=f"{RUN}/{name}", simple_value=value))
        for name, curve in epoch_curves(report.record).items()
        for epoch, value in curve.items()
    ]
    last = max((epoch for epoch, _ in curves), default=0)
    # An event file is a file of TFRecords, the first of which names its version.
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(
            tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2").SerializeToString()
        )
        for epoch, value in [*curves, (last, text)]:
            event = tf.compat.v1.Event(wall_time=now, step=epoch, summary=summary(value=[value]))
            file.write(event.SerializeToString())
    return path


def epoch_curves(record: RunRecord) -> dict[str, dict[int, float]]:
    """What was measured, by epoch counted from 0 as Keras' own curves are.

    The medians of the epoch's sampled steps: of the global gradient norm, and of the largest
    update ratio of any kernel; and the share of all watched units that were dead in the epoch.
    """
    curves: dict[str, dict[int, float]] = {}
    try:
        growth = GradientGrowth.from_record(record)
        curves["gradient_norm"] = _medians(growth.epoch, growth.norm)
    except NotApplicable:
        pass
    try:
        sizes = StepSize.from_record(record)
        curves["update_ratio"] = _medians(sizes.epoch, sizes.largest)
    except NotApplicable:
        pass
    if record.units is not None:
        dead = np.average(record.units.dead_fraction, axis=1, weights=record.units.units)
        curves["dead_units"] = dict(zip(map(int, record.units.epoch), map(float, dead)))
    return curves


def _medians(epoch: NDArray[np.int64], values: NDArray[np.float64]) -> dict[int, float]:
    return {int(e): float(np.median(values[epoch == e])) for e in np.unique(epoch)}
