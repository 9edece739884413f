from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.padding import PaddedRead, Padding
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.architecture import change_layers
from lossdoctor.rules._remedies.code import compile_code
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class UnmaskedPadding(Rule):
    """A recurrent layer reads padding last, and forgets the sequence before it.

    **What it detects.** Sequences filled up with zeros, or with another value, at their end, in
    front of a recurrent layer that returns its last state, without a mask of it between them.

    **Why it matters.** The last state then is the state after so many equal steps of padding, which
    is nearly the same for every example: what came before has faded, and with it the gradient.
    Predictions are constant and the loss stays at that of a constant answer.

    **How it is measured.** How many steps at the end of an example hold nothing but zeros, on
    average, or but the one other value that most examples end in, for inputs that reach the layer
    step by step and unmasked.

    **How to fix it.** `mask_zero=True` in the Embedding, or a Masking layer, so that padded steps
    leave the state as it is; or padding in front, which is what `pad_sequences` does by default.

    **When it is wrong.** When equal values at the end mean something. Padding in front and
    Bidirectional layers, which read both ends, are left alone; a run that learned anyway makes it
    INFO.

    **References.** Dwarampudi and Reddy, Effects of padding on LSTMs and CNNs (2019). Keras guide:
    Understanding masking and padding.
    """

    title = "Padding is read as data"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = STUCK

    steps: float = threshold(
        10.0,
        fires="above",
        unit="padded steps behind an example",
        source="measured: words that decide a review, 16 units, accuracy 0.9 for LSTM and GRU up "
        "to 10 padded steps, 0.5 to 0.9 at 20, 0.5 from 40 on; SimpleRNN 0.5 from 10 on",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="a run that removed three quarters of the errors remembers what it has to",
    )

    def check(self, padding: Padding, outcome: TrainingOutcome | None) -> Findings:
        learned = outcome is not None and outcome.share >= self.learned
        for read in padding.reads:
            if read.steps > self.steps:
                yield self.finding(
                    f"Examples end in {read.steps:.0f} steps of {_name(read)} on average, which "
                    f"{_unhidden(read)}, and '{read.cell.name}' returns its state after the last "
                    "of them"
                    + (f"; here it went well: {outcome.sentence}." if learned and outcome else "."),
                    severity=Severity.INFO if learned else None,
                    measurements=[self.measure("steps", read.steps)],
                    layers=[read.cell.name],
                    remedies=[_mask(read, padding.setup), _in_front(read)],
                )


def _name(read: PaddedRead) -> str:
    return f"{read.value:g}" if read.value else "zeros"


def _unhidden(read: PaddedRead) -> str:
    if read.mask is None:
        return "no mask hides"
    return (
        f"'{read.mask.name}' does not hide (it masks {read.mask.config.get('mask_value', 0.0):g})"
    )


def _mask(read: PaddedRead, setup: Setup) -> Remedy:
    if read.embedding is not None:
        name = read.embedding.name
        padded = f"Fill up with id 0 instead of {read.value:g}, and set" if read.value else "Set"
        return Remedy(
            text=f"{padded} mask_zero=True in '{name}': the layers behind it then skip padded "
            "steps. Id 0 must be padding only.",
            code=change_layers(setup, {name: {"mask_zero": True}}),
        )
    masking = f"keras.layers.Masking(mask_value={read.value:g})"
    if read.mask is not None:
        return Remedy(
            text=f"Let '{read.mask.name}' hide the value the examples are filled up with, "
            f"{read.value:g}: the layers behind it then skip these steps.",
            code=change_layers(setup, {read.mask.name: {"mask_value": read.value}}),
        )
    code = ""
    if setup.model.kind == "sequential":
        code = (
            "model = keras.Sequential(\n"
            f"    [keras.Input(model.input_shape[1:]), {masking}, *model.layers]\n"
            f")\n{compile_code(setup)}"
        )
    return Remedy(
        text="Put a Masking layer in front: the layers behind it then skip the padded steps.",
        code=code,
    )


def _in_front(read: PaddedRead) -> Remedy:
    return Remedy(
        text="Or pad in front, keras.utils.pad_sequences(..., padding='pre'): the sequence then "
        f"stands last, where '{read.cell.name}' is read."
    )
