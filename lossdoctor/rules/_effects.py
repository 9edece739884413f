"""What several causes lead to alike, so that each names the same consequences."""

from __future__ import annotations

UNSTABLE = frozenset(
    {
        "diverging_loss",
        "exploding_gradients",
        "exploding_weights",
        "high_initial_loss",
        "high_learning_rate",
        "non_finite_loss",
        "oscillating_loss",
        "unstable_learning_rate",
    }
)
"""Steps too large for the loss they are taken on."""

STUCK = frozenset(
    {
        "constant_predictions",
        "dead_units",
        "loss_metric_divergence",
        "loss_plateau",
        "low_learning_rate",
        "noisy_gradients",
        "saturated_activations",
        "saturated_output",
        "stalled_updates",
        "underfitting",
        "undertrained",
        "vanishing_gradients",
    }
)
"""Nothing, or nothing more, is learned."""

RATES = frozenset({"high_learning_rate", "low_learning_rate", "unstable_learning_rate"})
"""What is said of the learning rate itself."""
