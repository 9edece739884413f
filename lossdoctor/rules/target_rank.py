from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.output_head import Head
from lossdoctor.evidence.rank_fit import RankFault, RankFit, RankMismatch, Shape
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.record.run import LayerRecord, MetricRecord
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.code import compile_code, layer_code, rebuild_code
from lossdoctor.rules._remedies.labels import encode_lines
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class TargetRank(Rule):
    """Targets and predictions differ in their axes, and one is repeated to fit the other.

    **What it detects.** A head that answers for every time step or pixel where the targets hold
    one value per example, or the reverse; a custom loss or metric that subtracts predictions
    `(n, 1)` from targets `(n,)`; validation targets of another shape than training targets.

    **Why it matters.** Subtracting `(n, 1)` from `(n,)` gives all n² pairs: the value is lowest
    where every prediction is the mean of the targets. A sequence compared with one number per
    example asks every step, the first included, for the final answer. Cross-entropies raise.

    **How it is measured.** From the shapes of the targets as given and of the model's output,
    after the alignment Keras does itself: it adds or drops one last axis of size 1.

    **How to fix it.** `return_sequences` in the last recurrent layer, `Flatten` or global
    pooling before the head, or targets with the axis the loss expects.

    **When it is wrong.** When one target per example is meant for every step, which is then better
    written out. The built-in losses align `(n,)` with `(n, 1)` and are not reported.

    **References.** Keras: `squeeze_or_expand_to_same_rank`. `tests/test_keras_facts.py` shows it.
    """

    title = "Targets and predictions differ in their axes"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = STUCK | {"loss_task", "metric_task"}

    def check(self, fit: RankFit) -> Findings:
        for mismatch in fit.mismatches:
            yield self._mismatch(fit.setup, mismatch)
        for metric, head in fit.all_pairs_metrics:
            yield self._metric(fit.setup, metric, head)
        for head, shape, other in fit.validation:
            yield self.finding(
                f"The validation targets of {head.label} have shape {_shown(other)}, its training "
                f"targets {_shown(shape)}: Keras raises at the first validation.",
                measurements=[
                    Measurement(name="axes in validation", value=len(other) + 1),
                    Measurement(name="axes in training", value=len(shape) + 1),
                ],
                layers=head.layer_names,
                remedies=[
                    Remedy(
                        text="Encode the validation targets in the same way as those trained on."
                    )
                ],
            )

    def _mismatch(self, setup: Setup, mismatch: RankMismatch) -> Finding:
        head = mismatch.head
        if mismatch.fault is RankFault.ALL_PAIRS:
            consequence = "their difference has all n² pairs"
        elif mismatch.raises:
            consequence = "Keras raises at fit"
        else:
            consequence = "each target is repeated for all of them"
        return self.finding(
            f"{head.loss.name} compares targets of shape {_shown(mismatch.target_shape)} with "
            f"predictions of shape {_shown(mismatch.output_shape)} of {head.label}: {consequence}.",
            measurements=_axes(mismatch.target_shape, mismatch.output_shape),
            layers=head.layer_names,
            remedies=[_remedy(setup, mismatch)],
        )

    def _metric(self, setup: Setup, metric: MetricRecord, head: Head) -> Finding:
        return self.finding(
            f"The metric '{metric.requested}' compares targets of shape (n,) with predictions of "
            "shape (n, 1): it averages over all n² pairs.",
            severity=Severity.WARNING,
            measurements=_axes((), (1,)),
            layers=head.layer_names,
            remedies=[_column(setup, "the metric")],
        )


def _remedy(setup: Setup, mismatch: RankMismatch) -> Remedy:
    head, layer = mismatch.head, mismatch.sequence_layer
    if mismatch.fault is RankFault.FEWER_OUTPUT_AXES:
        return _answer_everywhere(setup, layer)
    if mismatch.fault is RankFault.ALL_PAIRS:
        return _column(setup, "the loss")
    if mismatch.fault is RankFault.OTHER_AXES:
        return Remedy(text=f"Reshape the targets to (n, {_inner(mismatch.output_shape)}).")
    if layer is not None and "wrapper" not in layer.config:
        text = f"Let layer '{layer.name}' return its last state only: one answer per example."
        return Remedy(
            text=text, code=rebuild_code(setup, {layer.name: {"return_sequences": False}})
        )
    text = f"Flatten before {head.label}: it then answers once per example."
    plain = head.layer is not None and head.layer.class_name == "Dense" and not head.tail
    if not plain or head.layer is None or head.units is None or len(setup.model.outputs) != 1:
        return Remedy(text=text)
    return Remedy(
        text=text,
        code=f"features = keras.layers.Flatten()({layer_code(setup, head.layer.name)}.input)\n"
        f'outputs = keras.layers.Dense({head.units}, activation="{head.layer.activation}")'
        "(features)\n"
        f"model = keras.Model(model.inputs, outputs)\n{compile_code(setup)}",
    )


def _answer_everywhere(setup: Setup, layer: LayerRecord | None) -> Remedy:
    if layer is None or "wrapper" in layer.config:
        return Remedy(
            text="Keep the axis of positions up to the head (no Flatten, no pooling over it, "
            "return_sequences=True), so that it answers for each of them."
        )
    return Remedy(
        text=f"Let layer '{layer.name}' return its state at every step: one answer each.",
        code=rebuild_code(setup, {layer.name: {"return_sequences": True}}),
    )


def _column(setup: Setup, what: str) -> Remedy:
    return Remedy(
        text=f"Give the targets the axis the predictions have, so that {what} sees equal shapes.",
        code="\n".join(encode_lines(setup, "np.reshape({y}, (-1, 1))")),
    )


def _axes(target: Shape, output: Shape) -> list[Measurement]:
    return [
        Measurement(name="target axes", value=len(target) + 1),
        Measurement(name="prediction axes", value=len(output) + 1),
    ]


def _inner(shape: Shape) -> str:
    return ", ".join("?" if size is None else str(size) for size in shape)


def _shown(shape: Shape) -> str:
    return f"(n, {_inner(shape)})" if shape else "(n,)"
