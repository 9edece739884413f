"""Read a Keras model's structure into a `ModelRecord`: layers, their order, its output heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np

from lossdoctor.record.run import LayerRecord, ModelRecord, OutputRecord, WeightRecord

# Layers that hand values on without changing the range a head can produce.
_RANGE_PRESERVING = {
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "Cropping1D",
    "Cropping2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "Identity",
    "MaxPooling1D",
    "MaxPooling2D",
    "Permute",
    "RepeatVector",
    "Reshape",
    "Squeeze",
    "ExpandDims",
    "GetItem",
    "Cast",
    "UpSampling1D",
    "UpSampling2D",
}
# Layers and operations that are an activation and nothing else.
_ACTIVATION_LAYERS = {
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "Softmax": "softmax",
    "Relu": "relu",
    "Relu6": "relu6",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Selu": "selu",
    "Gelu": "gelu",
    "Silu": "silu",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hard_sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "LogSoftmax": "log_softmax",
    "Exp": "exponential",
}
_LINEAR_LAYERS = {"BatchNormalization", "LayerNormalization", "GroupNormalization", "Normalization"}
_PLAIN = (bool, int, float, str)


def snapshot_model(model: keras.Model) -> ModelRecord:
    """Describe `model`, nested models flattened. Reads only; the model is left untouched.

    The graph of a subclassed model is not known before it is traced: its layers are listed in
    order of creation and its outputs stay empty (see `lossdoctor.record.head`).
    """
    kind = _kind(model)
    graph = _functional(model)
    if graph is not None:
        walk = _GraphWalk()
        walk.run(graph)
        layers: tuple[LayerRecord, ...] = tuple(walk.layers)
        outputs = tuple(
            _output(name, tensor, layers, walk.source[id(tensor)])
            for name, tensor in zip(_output_names(model, graph), graph.outputs)
        )
        inputs = tuple(walk.source[id(tensor)] for tensor in graph.inputs)
    else:
        layers = tuple(_layer_record(layer) for layer in leaf_layers(model))
        outputs, inputs = (), ()
    base = keras.Model
    return ModelRecord(
        name=model.name,
        class_name=type(model).__name__,
        kind=kind,
        graph_known=graph is not None,
        layers=layers,
        layer_names=tuple(layer.name for layer in model.layers),
        inputs=inputs,
        outputs=outputs,
        parameters=_count(model.weights),
        trainable_parameters=_count(model.trainable_weights),
        custom_train_step=type(model).train_step is not base.train_step,
        custom_compute_loss=type(model).compute_loss is not base.compute_loss,
        added_losses=_added_losses(model),
    )


def _kind(model: keras.Model) -> Literal["sequential", "functional", "subclassed"]:
    if isinstance(model, keras.Sequential):
        return "sequential"
    return "subclassed" if _functional(model) is None else "functional"


def _functional(model: Any) -> Any | None:
    """The functional graph behind `model`, or None where there is none (subclassed, unbuilt)."""
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    return model if hasattr(model, "_nodes_by_depth") and hasattr(model, "outputs") else None


def _output_names(model: Any, graph: Any) -> Sequence[str]:
    names = getattr(model, "output_names", None) or getattr(graph, "output_names", None)
    return names if names else [f"output_{i}" for i in range(len(graph.outputs))]


def _count(weights: Iterable[Any]) -> int:
    return int(sum(np.prod(w.shape) for w in weights))


def _added_losses(model: keras.Model) -> int:
    regularized = sum(1 for w in model.trainable_weights if getattr(w, "regularizer", None))
    terms = sum(len(getattr(layer, "_losses", ())) for layer in leaf_layers(model))
    return regularized + terms


def leaf_layers(model: keras.Model) -> list[Any]:
    """The layers of `model` that hold weights of their own or no layers inside, as created."""
    found = model._flatten_layers(include_self=False, recursive=True)
    inner = {
        id(part) for layer in found if _is_unit(layer) for part in layer._flatten_layers(False)
    }
    return [
        layer
        for layer in found
        if id(layer) not in inner and (_is_unit(layer) or not layer._layers)
    ]


def _is_unit(layer: Any) -> bool:
    """Whether a layer with layers inside is one layer to its user all the same (LSTM, say)."""
    return type(layer).__module__.startswith("keras.") and not isinstance(layer, keras.Model)


class _GraphWalk:
    """Visit a functional graph from inputs to outputs, entering nested models."""

    def __init__(self) -> None:
        self.layers: list[LayerRecord] = []
        self.source: dict[int, int] = {}
        """By id of a KerasTensor, the index of the layer that produces it."""

    def run(self, graph: Any) -> None:
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                self._visit(node)

    def _visit(self, node: Any) -> None:
        operation = node.operation
        inbound = [self.source[id(t)] for t in node.input_tensors if id(t) in self.source]
        nested = _functional(operation) if isinstance(operation, keras.Model) else None
        if nested is not None:
            for inner, outer in zip(nested.inputs, node.input_tensors):
                self.source[id(inner)] = self.source[id(outer)]
            for depth in sorted(nested._nodes_by_depth, reverse=True):
                for inner_node in nested._nodes_by_depth[depth]:
                    if not inner_node.is_input:
                        self._visit(inner_node)
            for inner, outer in zip(nested.outputs, node.output_tensors):
                self.source[id(outer)] = self.source[id(inner)]
            return
        record = _layer_record(operation)
        self.layers.append(
            dataclasses.replace(
                record,
                inbound=tuple(dict.fromkeys(inbound)),
                input_shape=_shape(node.input_tensors),
                output_shape=_shape(node.output_tensors),
            )
        )
        for tensor in node.output_tensors:
            self.source[id(tensor)] = len(self.layers) - 1


def _shape(tensors: Sequence[Any]) -> tuple[int | None, ...] | None:
    return tuple(tensors[0].shape) if tensors else None


def _layer_record(layer: Any) -> LayerRecord:
    wrapped = layer
    config: dict[str, Any] = {}
    if isinstance(layer, keras.layers.TimeDistributed):
        wrapped, config = layer.layer, {"wrapper": "TimeDistributed"}
    elif isinstance(layer, keras.layers.Bidirectional):
        wrapped, config = layer.forward_layer, {"wrapper": "Bidirectional"}
    class_name = _keras_class(wrapped)
    return LayerRecord(
        name=layer.name,
        class_name=class_name,
        custom=not type(wrapped).__module__.startswith("keras."),
        activation=layer_activation(wrapped, class_name),
        weights=tuple(_weight_record(w, wrapped) for w in getattr(layer, "weights", ())),
        trainable=bool(getattr(layer, "trainable", True)),
        config=config | _plain_config(wrapped),
    )


def _keras_class(layer: Any) -> str:
    for cls in type(layer).__mro__:
        if cls.__module__.startswith("keras."):
            return str(cls.__name__)
    return type(layer).__name__


def layer_activation(layer: Any, class_name: str) -> str | None:
    """The activation a layer applies to its output as Keras names it, "custom" for a user's own
    function, None for layers that have none."""
    if class_name in _ACTIVATION_LAYERS:
        return _ACTIVATION_LAYERS[class_name]
    function = getattr(layer, "activation", None)
    if function is None:
        return None
    if isinstance(function, keras.layers.Layer):
        return _ACTIVATION_LAYERS.get(_keras_class(function), "custom")
    name = str(getattr(function, "__name__", "custom")).removesuffix("_v2")
    known = {"exponential", "linear", "softmax", "swish", *dir(keras.activations)}
    return {"swish": "silu", "exp": "exponential"}.get(name, name) if name in known else "custom"


def _plain_config(layer: Any) -> dict[str, Any]:
    try:
        config = layer.get_config()
    except (NotImplementedError, TypeError, AttributeError, ValueError):
        return {}
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, _PLAIN) or value is None:
            found[key] = value
        elif isinstance(value, (list, tuple)) and all(isinstance(v, _PLAIN) for v in value):
            found[key] = list(value)
        elif isinstance(value, dict) and "class_name" in value:
            found[key] = str(value["class_name"])
    found.pop("dtype", None)
    policy = getattr(layer, "dtype_policy", None)
    if policy is not None:
        found["dtype_policy"] = policy.name
    return found


def _weight_record(weight: Any, layer: Any) -> WeightRecord:
    values = np.asarray(weight)
    numeric = values.astype(np.float64) if values.size and values.dtype.kind != "V" else np.zeros(1)
    initializer = getattr(layer, f"{weight.name}_initializer", None)
    return WeightRecord(
        name=weight.name,
        path=weight.path,
        shape=tuple(int(n) for n in weight.shape),
        trainable=bool(weight.trainable),
        initializer=None if initializer is None else type(initializer).__name__,
        mean=float(numeric.mean()),
        std=float(numeric.std()),
        l1=_factor(weight, "l1"),
        l2=_factor(weight, "l2"),
        abs_max=float(np.abs(numeric).max()),
    )


def _factor(weight: Any, name: str) -> float:
    value = getattr(getattr(weight, "regularizer", None), name, 0.0)
    return float(np.asarray(value if value is not None else 0.0))


def _output(name: str, tensor: Any, layers: Sequence[LayerRecord], source: int) -> OutputRecord:
    activation, inner, axis_layer = head_activation(layers, source)
    shape = tuple(tensor.shape)
    return OutputRecord(
        name=name,
        shape=shape,
        activation=activation,
        inner_activation=inner,
        activation_source="unknown" if activation is None else "config",
        layer=next((i for i in upstream(layers, source) if layers[i].weights), None),
        softmax_axis_size=_softmax_axis_size(axis_layer, shape),
        dtype=str(tensor.dtype),
    )


def upstream(layers: Sequence[LayerRecord], start: int) -> Iterator[int]:
    """Indices from `start` back to the inputs, nearest first."""
    queue, seen = [start], {start}
    while queue:
        index = queue.pop(0)
        yield index
        for previous in layers[index].inbound:
            if previous not in seen:
                seen.add(previous)
                queue.append(previous)


def head_activation(
    layers: Sequence[LayerRecord], source: int
) -> tuple[str | None, str | None, LayerRecord | None]:
    """What the last operations before an output do: the outermost activation, the one directly
    below it with nothing weighted between, and the layer that applies the outermost one."""
    found: list[tuple[str, LayerRecord]] = []
    index = source
    while True:
        layer = layers[index]
        if layer.activation == "custom" or layer.class_name == "Lambda":
            return (found[0][0] if found else None), None, found[0][1] if found else None
        if layer.activation not in (None, "linear"):
            found.append((str(layer.activation), layer))
        weighted = bool(layer.weights) or layer.class_name in _LINEAR_LAYERS
        if weighted or layer.class_name == "InputLayer" or len(found) == 2:
            break
        transparent = layer.class_name in _RANGE_PRESERVING or layer.activation is not None
        if not transparent or len(layer.inbound) != 1:
            if not found:
                return None, None, None
            return found[0][0], None, found[0][1]
        index = layer.inbound[0]
    if not found:
        known = layer.activation == "linear" or layer.class_name in _LINEAR_LAYERS
        return ("linear" if known and not layer.custom else None), None, None
    inner = found[1][0] if len(found) == 2 else "linear"
    return found[0][0], inner, found[0][1]


def _softmax_axis_size(layer: LayerRecord | None, shape: tuple[int | None, ...]) -> int | None:
    if layer is None or layer.activation != "softmax" or layer.output_shape is None:
        return None
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) else axis
    own = layer.output_shape
    return own[axis] if isinstance(axis, int) and -len(own) <= axis < len(own) else shape[-1]
