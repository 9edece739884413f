"""Remedies that change layers of the model and keep everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord
from lossdoctor.rules._remedies.code import compile_code, rebuild_code

_WRAPPED = """\
def changed(layer):
    config = layer.get_config()
    own = config["layer"]["config"] if "layer" in config else config
    own.update(changes.get(layer.name, {}))
    return type(layer).from_config(config)

"""


def change_layers(setup: Setup, changes: Mapping[str, Mapping[str, Any]]) -> str:
    """Code that rebuilds the model with settings of some layers changed; "" for a subclassed
    model, whose layers cannot be cloned."""
    if setup.model.kind == "subclassed" or not changes:
        return ""
    code = rebuild_code(setup, changes)
    if not {layer.name for layer in setup.model.layers if is_wrapped(layer)} & changes.keys():
        return code
    # A wrapper (Bidirectional, TimeDistributed) keeps its layer's settings one level down.
    table, _, rest = code.partition("model = keras.models.clone_model(")
    compile_line = rest[rest.index("model.compile(") :]
    return (
        table
        + _WRAPPED
        + ("model = keras.models.clone_model(model, clone_function=changed)\n" + compile_line)
    )


def is_wrapped(layer: LayerRecord) -> bool:
    """Whether the layer stands inside a Bidirectional or TimeDistributed."""
    return "wrapper" in layer.config


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
    return (
        "model = keras.models.clone_model(\n"
        "    model,\n"
        "    clone_function=lambda layer: (\n"
        "        keras.layers.LayerNormalization(name=layer.name)\n"
        "        if isinstance(layer, keras.layers.BatchNormalization)\n"
        "        else type(layer).from_config(layer.get_config())\n"
        "    ),\n"
        ")\n" + compile_code(setup)
    )


def listed(names: list[str], most: int = 3) -> str:
    """`'a', 'b' and 2 more` for a sentence."""
    shown = [f"'{name}'" for name in names[:most]]
    if len(names) > most:
        return ", ".join(shown) + f" and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
