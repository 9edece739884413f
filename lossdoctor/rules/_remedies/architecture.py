"""Remedies that change layers of the model and keep everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lossdoctor.evidence.architecture import Architecture
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Remedy
from lossdoctor.rules._remedies.code import clone_code, compile_code, layer_code, rebuild_code


def change_layers(setup: Setup, changes: Mapping[str, Mapping[str, Any]]) -> str:
    """Code that rebuilds the model with settings of some layers changed; "" for a subclassed
    model, whose layers cannot be cloned."""
    if setup.model.kind == "subclassed" or not changes:
        return ""
    return rebuild_code(setup, changes)


def activate(architecture: Architecture, names: Sequence[str]) -> Remedy:
    """The activation of the model's other hidden layers for `names`; relu where none has one."""
    activation = _usual_activation(architecture)
    why = (
        ", which trains well at any depth."
        if activation == "relu"
        else ", as the model's other hidden layers have."
    )
    return Remedy(
        text=f"Give {listed(names)} activation={activation!r}{why}",
        code=change_layers(
            architecture.setup, {name: {"activation": activation} for name in names}
        ),
    )


def _usual_activation(architecture: Architecture) -> str:
    used = Counter(
        layer.activation
        for layer in architecture.hidden_weighted
        if layer.activation in ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh")
        and layer.class_name not in ("LSTM", "GRU", "SimpleRNN")
    )
    common = used.most_common(1)
    return str(common[0][0]) if common else "relu"


def insert_hidden_layer(setup: Setup) -> Remedy:
    """A relu layer before the head, where the model is a plain chain."""
    head = setup.head_layer()
    code = ""
    if head is not None and setup.model.kind == "sequential":
        code = (
            "layers = list(model.layers)\n"
            f"place = layers.index({layer_code(setup, head.name)})\n"
            "rest = [type(layer).from_config(layer.get_config()) for layer in layers[place:]]\n"
            'hidden = keras.layers.Dense(32, activation="relu")\n'
            "model = keras.Sequential(\n"
            "    [keras.Input(model.input_shape[1:]), *layers[:place], hidden, *rest]\n"
            ")\n" + compile_code(setup)
        )
    return Remedy(
        text="Put a hidden layer with relu before the last one: sums of bent lines can follow any "
        "function, a single line cannot, whatever the rate and however many the epochs.",
        code=code,
    )


def unfreeze(setup: Setup) -> str:
    """Code that makes every layer trainable and compiles again, without which it has no effect."""
    return (
        "model.trainable = False\n"
        "model.trainable = True  # only a change of the model's setting reaches its layers\n"
        + compile_code(setup)
    )


def replace_normalization(setup: Setup) -> str:
    """Code that puts LayerNormalization in the place of every BatchNormalization."""
    if setup.model.kind == "subclassed":
        return ""
    return clone_code(
        setup,
        """\
lambda layer: (
        keras.layers.LayerNormalization(name=layer.name)
        if isinstance(layer, keras.layers.BatchNormalization)
        else type(layer).from_config(layer.get_config())
    )""",
    )


def listed(names: Sequence[str], most: int = 3) -> str:
    """`'a', 'b' and 2 more` for a sentence."""
    shown = [f"'{name}'" for name in names[:most]]
    if len(names) > most:
        return ", ".join(shown) + f" and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
