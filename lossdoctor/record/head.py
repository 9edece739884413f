"""Find an output's head activation in the traced computation, for any model that was traced.

The layer graph of a subclassed model is not known, and a functional one may end in a `Lambda`;
the TensorFlow operations that produced `y_pred` are there in either case.
"""

from __future__ import annotations

from typing import Any

_TRANSPARENT = {
    "Cast",
    "ConcatV2",
    "ExpandDims",
    "Identity",
    "IdentityN",
    "Mean",
    "Reshape",
    "Squeeze",
    "StopGradient",
    "StridedSlice",
    "Transpose",
}
_ACTIVATIONS = {
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "Relu6": "relu6",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "LogSoftmax": "log_softmax",
    "Exp": "exponential",
}
_LINEAR = {"BiasAdd", "Conv2D", "Conv1D", "Conv3D", "MatMul", "BatchMatMulV2", "Einsum"}


def traced_head(tensor: Any) -> tuple[str | None, str | None, int | None]:
    """Return `(activation, inner activation, softmax axis size)` of a symbolic tensor.

    All None where the last operation is none this function knows, or the tensor is eager.
    """
    found: list[str] = []
    axis_size: int | None = None
    operation = _operation(tensor)
    while operation is not None and len(found) < 2:
        kind = operation.type
        if kind in _ACTIVATIONS:
            found.append(_ACTIVATIONS[kind])
            if kind == "Softmax" and len(found) == 1:
                axis_size = operation.inputs[0].shape[-1]
        elif kind in _LINEAR or _adds_bias(operation):
            found.append("linear")
        elif kind not in _TRANSPARENT:
            break
        operation = _operation(operation.inputs[0]) if len(operation.inputs) else None
    if not found:
        return None, None, None
    inner = found[1] if len(found) == 2 else None
    return found[0], inner if found[0] != "linear" else None, axis_size


def _operation(tensor: Any) -> Any | None:
    try:
        return tensor.op
    except AttributeError:
        return None


def _adds_bias(operation: Any) -> bool:
    """Keras adds a Dense layer's bias with a plain addition to the matrix product."""
    if operation.type not in ("Add", "AddV2"):
        return False
    first = operation.inputs[0].op
    while first.type in _TRANSPARENT and len(first.inputs):
        first = first.inputs[0].op
    return first.type in _LINEAR
