from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.input_fit import InputFit, InputMismatch, Shape
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.code import compile_code
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class InputShape(Rule):
    """The data have another shape than the model reads.

    **What it detects.** Examples with another number of axes or of entries than the model's Input
    (images that were not flattened, or were; time series without the axis of features; channels
    in front), another number of arrays than the model has inputs, a dataset without batches, and
    validation examples of another shape than training ones.

    **Why it matters.** Keras raises at fit, from inside some layer and in that layer's words.

    **How it is measured.** The shape of one example against that of the model's Input, or against
    the axes its first layer needs; a last axis of size 1 is added or dropped as Keras does. Data
    that the model has taken in once are not questioned.

    **How to fix it.** Reshape the data where the entries are the same, turn their axes where only
    the order differs, batch a dataset, or declare the Input the data have.

    **When it is wrong.** Subclassed models declare no shape and are not judged.

    **References.** Keras guide: The Sequential model, specifying the input shape in advance.
    """

    title = "The data do not have the shape the model reads"
    severity = Severity.ERROR
    stage = Stage.CONTRACT

    def check(self, fit: InputFit) -> Findings:
        if fit.given != fit.wanted:
            yield self.finding(
                f"The model has {_inputs(fit.wanted)}, and x holds {fit.given}: Keras raises at "
                "fit.",
                measurements=[
                    Measurement(name="arrays in x", value=fit.given),
                    Measurement(name="inputs of the model", value=fit.wanted),
                ],
                remedies=[_as_many_arrays(fit)],
            )
        for mismatch in fit.mismatches:
            yield self.finding(
                _message(mismatch),
                measurements=[
                    Measurement(name="axes of the data", value=len(mismatch.given) + 1),
                    Measurement(name="axes the model reads", value=len(mismatch.wanted) + 1),
                ],
                layers=[mismatch.reader.name] if mismatch.reader else [],
                remedies=[_remedy(mismatch, fit.setup)],
            )


def _inputs(count: int) -> str:
    return "one input" if count == 1 else f"{count} inputs"


def _message(mismatch: InputMismatch) -> str:
    if mismatch.unbatched:
        return (
            "The dataset hands over single examples instead of batches: Keras takes the first axis "
            f"of each for the examples, and what is left, {_shown(mismatch.given)}, is not the "
            f"{_shown(mismatch.wanted)} the model reads."
        )
    reader = f"layer '{mismatch.reader.name}'" if mismatch.reader else "the model's Input"
    return (
        f"{mismatch.name[0].upper()}{mismatch.name[1:]} has shape {_shown(mismatch.given)}, and "
        f"{reader} reads {_shown(mismatch.wanted)}: Keras raises at fit."
    )


def _shown(shape: Shape) -> str:
    return "(" + ", ".join(["n", *("?" if size is None else str(size) for size in shape)]) + ")"


def _as_many_arrays(fit: InputFit) -> Remedy:
    if fit.wanted == 1:
        return Remedy(
            text="Put all features into one array, one row for each example; a list or tuple of "
            "arrays counts as several inputs. Or give the model an Input for each of them."
        )
    names = ", ".join(fit.setup.model.layers[index].name for index in fit.setup.model.inputs)
    return Remedy(
        text=f"Pass one array for each input ({names}), in this order, as a list: "
        "model.fit([X_1, X_2], y)."
    )


def _remedy(mismatch: InputMismatch, setup: Setup) -> Remedy:
    if mismatch.unbatched:
        return Remedy(text="Put the examples into batches: dataset = dataset.batch(32).")
    names = ["X_val"] if mismatch.validation else setup.sides("X")
    if len(setup.model.inputs) > 1:
        names = []
    order, shape = mismatch.reordered, mismatch.reshaped
    if order is not None:
        return Remedy(
            text="Turn the axes of the data: the sizes are right, only their order is not. A "
            "reshape would mix up the entries.",
            code="\n".join(f"{name} = np.transpose(np.asarray({name}), {order})" for name in names),
        )
    if shape is not None:
        size = ", ".join(map(str, shape))
        return Remedy(
            text=f"Reshape each example to ({size}): the entries are the same, only arranged "
            "otherwise.",
            code="\n".join(
                f"{name} = np.reshape({name}, ({', '.join(['-1', size])}))" for name in names
            ),
        )
    if mismatch.validation:
        return Remedy(text="Put the validation examples through the preprocessing of training.")
    if mismatch.reader is not None:
        return Remedy(
            text=f"Give each example the {len(mismatch.wanted)} axes '{mismatch.reader.name}' "
            "reads; for a series of numbers these are time steps and features: X[..., np.newaxis]."
        )
    return Remedy(
        text="Declare the Input the data have; the layers behind it are built for it anew. "
        "Resizing the data to the model would change what they show.",
        code="model = keras.models.clone_model(\n"
        f"    model, input_tensors=keras.Input({tuple(mismatch.given)})\n)\n{compile_code(setup)}"
        if names
        else "",
    )
