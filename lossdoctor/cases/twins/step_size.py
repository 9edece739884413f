"""Twins whose steps are too large, too small, or too noisy."""

from __future__ import annotations

from typing import Any

from lossdoctor.cases.faults import learning_rate, optimizer, setting
from lossdoctor.cases.recipe import Spec
from lossdoctor.cases.twins.twin import Twin, before_training, in_training


def _too_high(base: str, times: int, *symptoms: str) -> Twin:
    return Twin(
        f"{base}/learning-rate-x{times}",
        learning_rate(times),
        f"learning rate × {times}",
        also_right=("unstable_learning_rate",),
        symptoms=symptoms,
    )


def _too_low(base: str) -> Twin:
    return Twin(f"{base}/learning-rate-div-1000", learning_rate(1e-3), "learning rate ÷ 1000")


def _schedule(class_name: str, **arguments: Any) -> Spec:
    return Spec(f"optimizers.schedules.{class_name}", arguments)


STEP_SIZE = (
    *before_training(
        "high_learning_rate",
        _too_high("regression-mse", 50, "exploding_gradients", "diverging_loss"),
        _too_high("regression-mse", 1000, "non_finite_loss"),
        _too_high("regression-mae", 200),
        _too_high("circles-bce", 1000, "loss_plateau", "oscillating_loss"),
        _too_high("blobs-categorical", 1000, "exploding_weights"),
        _too_high("regression-mse-adam", 1000),
        _too_high("blobs-sparse-adam", 1000),
    ),
    *in_training(
        "low_learning_rate",
        _too_low("regression-mse"),
        _too_low("regression-mse-adam"),
        _too_low("circles-bce"),
        _too_low("blobs-kl"),
    ),
    *before_training(
        "optimizer_settings",
        Twin("regression-mse/learning-rate-0", learning_rate(0), "learning rate 0"),
        Twin(
            "regression-mse/schedule-decays-at-once",
            optimizer(
                learning_rate=_schedule(
                    "ExponentialDecay", initial_learning_rate=0.01, decay_steps=10, decay_rate=0.5
                )
            ),
            "a schedule that halves the learning rate every 10 of 1600 steps",
        ),
    ),
    *in_training(
        "optimizer_settings",
        Twin(
            "regression-mse/clipped-to-nothing",
            optimizer(clipnorm=1e-3),
            "gradients clipped to norm 0.001",
        ),
    ),
    *in_training(
        "schedule_shock",
        Twin(
            "regression-mse/learning-rate-jumps",
            optimizer(
                learning_rate=_schedule(
                    "PiecewiseConstantDecay", boundaries=[800], values=[0.01, 10.0]
                )
            ),
            "the learning rate jumps × 1000 half-way",
            also_right=("high_learning_rate",),
        ),
    ),
    *in_training(
        "noisy_gradients",
        Twin(
            "blobs-sparse/batches-of-1",
            setting(batch_size=1, epochs=12),
            "every step follows a single example",
            also_right=("high_learning_rate",),
            symptoms=("noisy_gradients",),
        ),
    ),
)
