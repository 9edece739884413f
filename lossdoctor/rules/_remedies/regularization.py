"""Remedies that keep a model from learning its examples by heart."""

from __future__ import annotations

from lossdoctor.evidence.generalization import Generalization
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Remedy
from lossdoctor.rules._remedies.code import Code, rebuild_code

LEAST_PATIENCE = 10
PATIENCE_SHARE = 0.2
LARGER = 2
HELD_BACK = 0.5
WEIGHT_DECAY = "keras.regularizers.L2(1e-3)"


def against_overfitting(curves: Generalization, setup: Setup | None) -> list[Remedy]:
    """More examples where they lie idle; else stop in time and penalize large weights."""
    remedies = [
        train_on_validation_rows(curves),
        stop_early(curves),
        penalize_weights(setup),
        Remedy(
            text="Collect or generate more examples (shifted and flipped images, inputs with a "
            "little noise): the only cure that makes the task itself easier to see."
        ),
    ]
    return [remedy for remedy in remedies if remedy]


def against_overconfidence(curves: Generalization) -> list[Remedy]:
    """The weights of the lowest validation loss; more examples where they lie idle."""
    remedies = [train_on_validation_rows(curves), stop_early(curves)]
    return [remedy for remedy in remedies if remedy]


def train_on_validation_rows(curves: Generalization) -> Remedy | None:
    """Move most validation examples to the training side where that is by far the smaller one."""
    if not curves.rows or not curves.train_rows or curves.rows < LARGER * curves.train_rows:
        return None
    return Remedy(
        text=f"Train on more examples: {curves.rows:,} lie in the validation set against only "
        f"{curves.train_rows:,} in the training set. Move {1 - HELD_BACK:.0%} of them over and "
        "let the rest say when to stop; regularization cannot make up for what was never seen.",
        code=f"held_back = max(1, int({HELD_BACK} * len(X_val)))\n"
        "X = np.concatenate([X, X_val[held_back:]])\n"
        "y = np.concatenate([y, y_val[held_back:]])\n"
        "X_val, y_val = X_val[:held_back], y_val[:held_back]\n" + _stop(curves),
    )


def stop_early(curves: Generalization) -> Remedy:
    """Stop when the validation loss no longer improves, and go back to its best weights."""
    return Remedy(
        text="Stop when the validation loss no longer improves and keep the weights of its best "
        f"epoch, here number {curves.best_epoch + 1:,}: what came after only made it worse.",
        code=_stop(curves),
    )


def _stop(curves: Generalization) -> str:
    patience = max(LEAST_PATIENCE, int(PATIENCE_SHARE * len(curves.epoch)))
    return (
        "callbacks = [\n"
        "    keras.callbacks.EarlyStopping(\n"
        f'        monitor="val_loss", patience={patience}, restore_best_weights=True\n'
        "    )\n]"
    )


def penalize_weights(setup: Setup | None) -> Remedy | None:
    """An L2 penalty on the kernels that have none."""
    if setup is None or setup.model.kind == "subclassed":
        return None
    free = [
        layer.name
        for layer in setup.model.layers
        if layer.class_name in ("Dense", "Conv1D", "Conv2D", "Conv3D")
        and not layer.config.get("kernel_regularizer")
    ]
    if not free:
        return None
    changes = {name: {"kernel_regularizer": Code(WEIGHT_DECAY)} for name in free}
    return Remedy(
        text="Penalize large weights, which fitting single examples takes; Dropout(0.3) after the "
        "hidden layers does it by other means.",
        code=rebuild_code(setup, changes),
    )
