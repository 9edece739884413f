"""Remedies that let gradients reach the weights, or keep them from growing without bound."""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Any

from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize, rounded
from lossdoctor.evidence.unit_activity import LayerActivity
from lossdoctor.finding import Remedy
from lossdoctor.record.run import LayerRecord
from lossdoctor.rules._remedies.architecture import change_layers
from lossdoctor.rules._remedies.code import compile_code, name_code
from lossdoctor.rules._remedies.step_size import set_rate

SATURATING = {
    "sigmoid": 0.25,
    "softmax": 0.25,
    "hard_sigmoid": 0.2,
    "tanh": 1.0,
    "softsign": 1.0,
    "hard_tanh": 1.0,
}
"""Activations with flat tails, and the largest slope of each."""
LARGE_UPDATE = 0.2
"""A single step beyond this share of the weights can kill units or drive them into the tails."""
RECURRENT = {"SimpleRNN", "LSTM", "GRU", "RNN"}
_INITIALIZED = {"Dense", "Conv1D", "Conv2D", "Conv3D"}


def relu_and_he(setup: Setup, why: str) -> Remedy:
    """Give every hidden layer with a saturating activation a ReLU and weights scaled for it."""
    changes: dict[str, dict[str, Any]] = {}
    for layer in _hidden(setup):
        if layer.class_name not in RECURRENT and layer.activation in SATURATING:
            changes[layer.name] = {"activation": "relu"}
    for layer in _hidden(setup):
        if layer.class_name in _INITIALIZED and changes:
            changes.setdefault(layer.name, {})["kernel_initializer"] = "he_uniform"
    return Remedy(
        text=f"Use relu with he_uniform in the hidden layers: {why}.",
        code=change_layers(setup, changes),
    )


def fresh_weights(setup: Setup, layers: Collection[str], why: str) -> Remedy:
    """Draw the kernels of `layers` anew, at the scale their activation calls for."""
    changes: dict[str, dict[str, Any]] = {}
    for layer in setup.model.layers:
        if layer.name in layers and layer.kernel is not None:
            rectified = _activation(setup, layer) in {"relu", "leaky_relu", "relu6", "elu", "silu"}
            initializer = "he_uniform" if rectified else "glorot_uniform"
            changes[layer.name] = {"kernel_initializer": initializer}
            if any(weight.name == "recurrent_kernel" for weight in layer.weights):
                changes[layer.name]["recurrent_initializer"] = "orthogonal"
    names = sorted({name for change in changes.values() for name in change.values()})
    return Remedy(
        text=f"Start from {' and '.join(names) or 'he_uniform'}: {why}.",
        code=change_layers(setup, changes),
    )


def zero_bias(setup: Setup, layers: Collection[str], why: str) -> Remedy:
    """Start the biases of `layers` at zero, and those of others that begin as far from it."""
    biases = {x.name: abs(x.bias.mean) for x in setup.model.layers if x.bias}
    least = min((biases.get(name, 0.0) for name in layers), default=0.0) / 2
    alike = [name for name, size in biases.items() if size > least > 0]
    names = dict.fromkeys([*layers, *alike])
    return Remedy(
        text=f"Start the biases at zero: {why}.",
        code=change_layers(setup, {name: {"bias_initializer": "zeros"} for name in names}),
    )


def leaky_relu(setup: Setup, layers: Collection[str], why: str) -> Remedy:
    """Let the units of `layers` pass a little gradient where they are off."""
    rectified = {
        layer.name: {"activation": "leaky_relu", "kernel_initializer": "he_uniform"}
        for layer in setup.model.layers
        if layer.name in layers and layer.activation == "relu" and layer.class_name in _INITIALIZED
    }
    return Remedy(text=f"Use leaky_relu: {why}.", code=change_layers(setup, rectified))


def normalize_after(setup: Setup, layers: Collection[str], why: str) -> Remedy:
    """Put a BatchNormalization behind each of `layers`, where the model is a plain chain."""
    text = f"Put BatchNormalization behind {listed(layers)}: {why}."
    return Remedy(text=text, code=_normalizing_code(setup, layers, before=False))


def normalize_before(setup: Setup, layers: Collection[str], why: str) -> Remedy:
    """Put a BatchNormalization in front of each of `layers`, where the model is a plain chain."""
    text = f"Put BatchNormalization in front of {listed(layers)}: {why}."
    return Remedy(text=text, code=_normalizing_code(setup, layers, before=True))


def limit_weights(setup: Setup) -> Remedy:
    """Bound the norm of every unit's weights."""
    changes = {
        layer.name: {"kernel_constraint": "max_norm"}
        for layer in setup.model.layers
        if layer.class_name in _INITIALIZED and layer.kernel is not None
    }
    return Remedy(
        text="Or bound the weights with a max-norm constraint, where the rate must stay: it treats "
        "the symptom.",
        code=change_layers(setup, changes),
    )


def clip_norm(setup: Setup, norm: float, why: str) -> Remedy:
    """Clip the global gradient norm at a value this run calls ordinary."""
    text = f"Clip the global gradient norm at {norm:.2g}: {why}."
    return Remedy(text=text, code=compile_code(setup, global_clipnorm=float(f"{norm:.2g}")))


def smaller_rate(setup: Setup, sizes: StepSize) -> Remedy:
    """Lower the learning rate to what this run's first steps say is calm."""
    rate = sizes.lower_rate().rate
    return Remedy(
        text=f"Lower the learning rate from {sizes.present_rate:g} to {rate:g}: one step of this "
        f"run changed a kernel by {sizes.peak:.2g} times its size, which no initialization and no "
        "activation survives.",
        code=set_rate(setup, rate),
    )


def _much_smaller_rate(setup: Setup, sizes: StepSize) -> Remedy:
    """Lower the learning rate where no single step stands out, but all of them together killed."""
    rate = rounded(sizes.present_rate / 100)
    return Remedy(
        text=f"Lower the learning rate from {sizes.present_rate:g} to {rate:g}: these units got "
        "gradients at first, so it was the steps that pushed them below zero. They overshoot even "
        "the constant that is left to learn, which leaky_relu would not change.",
        code=set_rate(setup, rate),
    )


def against_vanishing(setup: Setup, starved: tuple[str, ...]) -> list[Remedy]:
    """Let gradients reach the layers they fade in front of."""
    hidden = [layer.name for layer in _hidden(setup) if layer.kernel is not None]
    normalize = normalize_after(
        setup, hidden, "it restores the scale of the signal at every layer, forward and backward"
    )
    saturating = _saturating_activations(setup, starved)
    if saturating:
        why = (
            f"{saturating[0]}, whose slope is at most {SATURATING[saturating[0]]:g}, shrinks the "
            f"gradient at each of {len(saturating)} layers, relu has slope 1 and this "
            "initialization keeps the scale; a higher learning rate would enlarge the head's "
            "gradient just as much"
        )
        return [relu_and_he(setup, why), normalize]
    recurrent = [layer for layer in _recurrent(setup) if layer.name in starved]
    plain = [layer.name for layer in recurrent if layer.class_name == "SimpleRNN"]
    if plain:
        gated = Remedy(
            text=f"Use LSTM or GRU in {listed(plain)}: their gates carry the gradient over "
            "many time steps without multiplying it by the same weights each time."
        )
        return [gated, normalize]
    if recurrent:
        return [normalize]
    why = (
        "these activations pass the gradient on, so the weights are too small to carry it; this "
        "scale keeps its size from layer to layer"
    )
    residual = Remedy(
        text="Or add residual connections (keras.layers.Add around every two layers): the gradient "
        "then has a way to the input that no weight can shrink."
    )
    return [fresh_weights(setup, hidden, why), normalize, residual]


def against_forgetting(setup: Setup, cell: LayerRecord) -> list[Remedy]:
    """Give the head a short way to every time step."""
    code = ""
    if setup.model.kind == "sequential":
        code = (
            "layers = []\n"
            "for layer in model.layers:\n"
            "    config = layer.get_config()\n"
            f"    if layer.name == {cell.name!r}:\n"
            '        config["return_sequences"] = True\n'
            "    layers.append(type(layer).from_config(config))\n"
            f"    if layer.name == {cell.name!r}:\n"
            "        layers.append(keras.layers.GlobalMaxPooling1D())\n"
            "model = keras.Sequential([keras.Input(model.input_shape[1:]), *layers])\n"
            + compile_code(setup)
        )
    pool = Remedy(
        text=f"Let '{cell.name}' return its state after every step and take the largest over all "
        "of them: what it saw early then need not survive all later steps.",
        code=code,
    )
    gated = ["use LSTM or GRU, whose gates forget more slowly"] * (cell.class_name == "SimpleRNN")
    shorter = Remedy(
        text=f"Or {', or '.join([*gated, 'shorten the sequences: average or stride over steps'])}."
    )
    return [pool, shorter]


def against_exploding(setup: Setup, ordinary: float | None, sizes: StepSize | None) -> list[Remedy]:
    """Keep gradients from growing beyond the `ordinary` norm of this run, where it had one."""
    recurrent = tuple(layer.name for layer in _recurrent(setup))
    why = (
        "it is the norm of this run's first steps, so ordinary steps stay as they are"
        if ordinary
        else "a usual value, since not even the first steps of this run were ordinary"
    )
    if recurrent:
        why = (
            f"{listed(recurrent)} multiply by the same weights at every time step, so single "
            f"gradients explode at any learning rate; {why}"
        )
    clip = clip_norm(setup, ordinary or 1.0, why)
    lower = [smaller_rate(setup, sizes)] if sizes else []
    if recurrent:
        return [clip, *lower]
    hidden = [layer.name for layer in _hidden(setup) if layer.kernel is not None]
    keep = "it keeps the scale of every layer's output fixed"
    return [*lower, clip, *([normalize_after(setup, hidden, keep)] if hidden else [])]


def against_dead_units(
    setup: Setup, layer: LayerActivity, sizes: StepSize | None, *, overshoots: bool
) -> list[Remedy]:
    """Bring units to life, by how they died.

    Args:
        setup: The run's configuration.
        layer: The layer whose units are dead.
        sizes: The size of the steps, where it is known.
        overshoots: The steps are too large even for the constant that is left to learn.
    """
    names = [layer.layer]
    if layer.is_head:
        return [
            Remedy(
                text=f"Give '{layer.layer}' a linear activation: it can put out the same "
                "non-negative values, and still gets a gradient where it is below them.",
                code=change_layers(setup, {layer.layer: {"activation": "linear"}}),
            )
        ]
    if layer.activation in SATURATING:
        flat = f"{layer.activation} is flat to machine precision where its input is large"
        return [
            normalize_before(setup, names, f"{flat}; scaled to 1 it falls on the slope"),
            fresh_weights(setup, names, f"{flat}; these weights keep its input near 0"),
        ]
    leaky = leaky_relu(
        setup, names, "its slope below zero is small but not 0, so a unit that is off can return"
    )
    if not layer.died and layer.bias_mean < 0:
        why = (
            f"they begin at {layer.bias_mean:g} on average, which the inputs times weights of "
            f"scale {layer.kernel_std:.2g} never outweigh; leaky_relu would only hide that"
        )
        return [zero_bias(setup, names, why), leaky]
    if layer.died and sizes is not None and sizes.peak > LARGE_UPDATE:
        return [smaller_rate(setup, sizes), leaky]
    if layer.died and sizes is not None and overshoots:
        return [_much_smaller_rate(setup, sizes), leaky]
    return [leaky, fresh_weights(setup, names, "it gives every unit an even chance to be on")]


class Stall(enum.Enum):
    """Why a layer never moved."""

    DISCONNECTED = enum.auto()
    FLAT = enum.auto()
    ZERO_KERNELS = enum.auto()
    CUT_OFF = enum.auto()
    LOST = enum.auto()


def against_stall(
    stall: Stall, layers: Collection[str], zero_kernels: Collection[str], setup: Setup
) -> Remedy:
    """Get `layers` to move, by what holds them."""
    if stall is Stall.ZERO_KERNELS:
        why = (
            "zero weights pass neither signal nor gradient, random ones at this scale make every "
            "unit different; neither the rate nor more epochs can move them"
        )
        return fresh_weights(setup, zero_kernels, why)
    if stall is Stall.CUT_OFF:
        return leaky_relu(setup, layers, "it has a slope wherever relu has none")
    if stall is Stall.DISCONNECTED:
        return Remedy(
            text=f"Replace what cuts the path behind {listed(layers)} (rounding, argmax, casting "
            "to integers, stop_gradient, numpy inside the model), or add the loss of the output "
            "they lead to; if they are meant to stay as they are, say so with trainable=False."
        )
    if stall is Stall.LOST:
        return Remedy(
            text=f"Look at the kernel_constraint of {listed(layers)}, and compare learning rate "
            "times gradient with the weights: float32 forgets a change of less than 6e-8 of them."
        )
    if any(loss.custom for loss in setup.losses) or setup.model.custom_compute_loss:
        return Remedy(
            text="Write the loss without rounding, argmax, comparisons, casts to integers and "
            "clipping, whose slope is 0, and without NumPy, and "
            "check it with tf.GradientTape on one batch."
        )
    return Remedy(
        text="Check with tf.GradientTape on one batch where the gradient becomes 0: a head that is "
        "constant or saturated from the start has none."
    )


def _recurrent(setup: Setup) -> tuple[LayerRecord, ...]:
    return tuple(layer for layer in setup.model.layers if layer.class_name in RECURRENT)


def _saturating_activations(setup: Setup, layers: Collection[str]) -> tuple[str, ...]:
    """The activations with flat tails behind `layers`, one each; recurrent layers apart."""
    found = [
        _activation(setup, layer)
        for layer in setup.model.layers
        if layer.name in layers and layer.class_name not in RECURRENT
    ]
    return tuple(name for name in found if name in SATURATING)


def listed(names: Collection[str]) -> str:
    """`'a'`, `'a' and 'b'`, `'a', 'b' and 3 more`."""
    shown = [f"'{name}'" for name in names]
    if len(shown) > 3:
        shown = [*shown[:2], f"{len(shown) - 2} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _normalizing_code(setup: Setup, layers: Collection[str], *, before: bool) -> str:
    known = {layer.name for layer in setup.model.layers}
    if setup.model.kind != "sequential" or not layers or not known.issuperset(layers):
        return ""
    names = ", ".join(name_code(setup, name) for name in layers)
    normalize = (
        f"    if layer.name in {{{names}}}:\n"
        "        normalized.add(keras.layers.BatchNormalization())\n"
    )
    copy = "    normalized.add(type(layer).from_config(layer.get_config()))\n"
    return (
        "normalized = keras.Sequential([keras.Input(model.input_shape[1:])])\n"
        "for layer in model.layers:\n"
        + (normalize + copy if before else copy + normalize)
        + "model = normalized\n"
        + compile_code(setup)
    )


def _hidden(setup: Setup) -> list[LayerRecord]:
    """All layers but the heads and what follows them."""
    heads = [output.layer for output in setup.model.outputs if output.layer is not None]
    last = min(heads, default=len(setup.model.layers))
    return list(setup.model.layers[:last])


def _activation(setup: Setup, layer: LayerRecord) -> str | None:
    """The layer's activation, or that of the activation layer right behind it."""
    if layer.activation not in (None, "linear"):
        return layer.activation
    index = setup.model.layers.index(layer)
    behind = [other for other in setup.model.layers if index in other.inbound]
    if len(behind) == 1 and not behind[0].weights and behind[0].activation:
        return behind[0].activation
    return layer.activation
