from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotRecorded
from lossdoctor.evidence.output_head import Head
from lossdoctor.evidence.rank_fit import AllPairsStep, RankFault, RankFit, RankMismatch, Shape
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.record.run import LayerRecord
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.code import compile_code, layer_code, rebuild_code
from lossdoctor.rules._remedies.labels import encode_lines
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class TargetRank(Rule):
    """Targets and predictions differ in their axes, and one is repeated to fit the other.

    **What it detects.** A head that answers for every time step or pixel where the targets hold
    one value per example, or the reverse; one's own code that subtracts predictions `(n, 1)` from
    targets `(n,)`; validation targets unlike training targets.

    **Why it matters.** Subtracting `(n, 1)` from `(n,)` gives all n² pairs: the value is lowest
    where every prediction is the mean of the targets. A sequence compared with one number per
    example asks every step, the first included, for the final answer. Cross-entropies raise.

    **How it is measured.** From the shapes of the targets as given and of the model's output,
    after the alignment Keras does itself; in a step of one's own from its operations.

    **How to fix it.** `return_sequences` in the last recurrent layer, `Flatten` or global pooling
    before the head, or targets with the axis the loss expects (Keras' own losses add it).

    **When it is wrong.** When one target per example is meant for every step.

    **References.** Keras: `squeeze_or_expand_to_same_rank`. `tests/test_keras_facts.py` shows it.
    """

    title = "Targets and predictions differ in their axes"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = STUCK | {"loss_task", "metric_task"}

    def check(self, fit: RankFit | None, own: AllPairsStep | None) -> Findings:
        if own is not None:
            return (yield self._all_pairs(own.setup, f"Your {own.method}"))
        if fit is None:
            raise NotRecorded("the loss and the labels: compile with loss=..., and pass y")
        for mismatch in fit.mismatches:
            yield self._mismatch(fit.setup, mismatch)
        for metric, head in fit.all_pairs_metrics:
            yield self._all_pairs(fit.setup, f"The metric '{metric.requested}'", head)
        for head, shape, other in fit.validation:
            yield self.finding(
                f"The validation targets of {head.label} have shape {_shown(other)}, its training "
                f"targets {_shown(shape)}: Keras raises at the first validation.",
                measurements=_axes(shape, other, "axes in training", "axes in validation"),
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

    def _all_pairs(self, setup: Setup, what: str, at: Head | None = None) -> Finding:
        return self.finding(
            f"{what} compares targets of shape (n,) with predictions of shape (n, 1), entry by "
            "entry: it averages over all n² pairs, which the mean of the targets fits best.",
            severity=Severity.WARNING if at else None,
            measurements=_axes((), (1,)),
            layers=at.layer_names if at else (),
            remedies=[_column(setup, "the metric" if at else "the loss")],
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


def _axes(
    target: Shape, output: Shape, one: str = "target axes", other: str = "prediction axes"
) -> list[Measurement]:
    return [Measurement(name=n, value=len(s) + 1) for n, s in ((one, target), (other, output))]


def _inner(shape: Shape) -> str:
    return ", ".join("?" if size is None else str(size) for size in shape)


def _shown(shape: Shape) -> str:
    return f"(n, {_inner(shape)})" if shape else "(n,)"
