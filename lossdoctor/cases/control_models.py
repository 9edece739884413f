"""Models of the healthy controls that a list of layers cannot describe."""

from __future__ import annotations

from typing import Any

from lossdoctor.cases.data import Data, digits, digits_from
from lossdoctor.cases.recipe import Model, Recipe, compiled

KL_RAMP_EPOCHS = 30


def kl_ramp() -> Any:
    """A callback that raises the weight of the KL term from 0 to 1 over the first epochs."""
    import keras

    class KLRamp(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.model.get_layer("sampling").weight.assign(min(1.0, epoch / KL_RAMP_EPOCHS))

    return KLRamp()


def variational_autoencoder(recipe: Recipe, data: Data) -> Model:
    """Digits through two latent numbers; the KL term is added by the sampling layer."""
    import keras
    from keras import layers, ops

    class Sampling(layers.Layer):  # type: ignore[misc]
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.random = keras.random.SeedGenerator(0)
            self.weight = self.add_weight(initializer="zeros", trainable=False, name="kl_weight")

        def call(self, inputs: Any) -> Any:
            mean, log_variance = inputs
            divergence = ops.square(mean) + ops.exp(log_variance) - log_variance - 1
            per_row = ops.sum(divergence, axis=-1) / 2
            self.add_loss(self.weight * ops.mean(per_row) / data.X.shape[1])
            noise = keras.random.normal(ops.shape(mean), seed=self.random)
            return mean + ops.exp(log_variance / 2) * noise

    pixels = keras.Input(data.X.shape[1:])
    code = layers.Dense(64, "relu")(pixels)
    latent = Sampling(name="sampling")([layers.Dense(4)(code), layers.Dense(4)(code)])
    hidden = layers.Dense(64, "relu")(latent)
    restored = layers.Dense(data.X.shape[1], "sigmoid")(hidden)
    return compiled(keras.Model(pixels, restored), recipe)


def adversarial_pair(recipe: Recipe, data: Data) -> Model:
    """A generator and a discriminator trained against each other in a `train_step` of their own."""
    import keras
    import tensorflow as tf
    from keras import layers, ops

    judge = keras.losses.BinaryCrossentropy(from_logits=True)

    class AdversarialPair(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.generator = keras.Sequential(
                [keras.Input((4,)), layers.Dense(16, "relu"), layers.Dense(1)]
            )
            self.discriminator = keras.Sequential(
                [keras.Input((1,)), layers.Dense(16, "relu"), layers.Dense(1)]
            )
            self.random = keras.random.SeedGenerator(0)

        def compile(self, optimizer: Any, discriminator_optimizer: Any) -> None:
            super().compile(optimizer=optimizer)
            self.discriminator_optimizer = discriminator_optimizer

        def call(self, noise: Any) -> Any:
            return self.generator(noise)

        def train_step(self, samples: Any) -> dict[str, Any]:
            samples = samples[0] if isinstance(samples, tuple) else samples
            rows = ops.shape(samples)[0]
            noise = keras.random.normal((rows, 4), seed=self.random)
            with tf.GradientTape() as tape:
                true = self.discriminator(samples)
                false = self.discriminator(self.generator(noise))
                d_loss = judge(ops.ones_like(true), true) + judge(ops.zeros_like(false), false)
            weights = self.discriminator.trainable_variables
            self.discriminator_optimizer.apply(tape.gradient(d_loss, weights), weights)
            with tf.GradientTape() as tape:
                false = self.discriminator(self.generator(noise))
                g_loss = judge(ops.ones_like(false), false)
            weights = self.generator.trainable_variables
            self.optimizer.apply(tape.gradient(g_loss, weights), weights)
            return {"loss": g_loss, "discriminator_loss": d_loss}

    pair = AdversarialPair()
    pair.compile(recipe.optimizer.build(), recipe.optimizer.build())
    return pair


def rescaling_backbone() -> Model:
    """A model of its own for images in 0-255, which it rescales itself, as those of Keras do."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Flatten(),
        ]
    )


def fine_tuned_head(recipe: Recipe, data: Data) -> Model:
    """A body trained on the digits 0-4 and frozen, with a new head for the digits 5-9."""
    import keras

    body = _trained_body(digits_from(0))
    body.trainable = False
    model = keras.Sequential([body, keras.layers.Dense(5, "softmax")])
    return compiled(model, recipe)


def fine_tuned_whole(recipe: Recipe, data: Data) -> Model:
    """A model trained on the first half of the rows, to be trained on with tiny steps."""
    import keras

    all_digits = digits()
    half = Data(X=all_digits.X[:600], y=all_digits.y[:600], X_val=data.X_val, y_val=data.y_val)
    body = _trained_body(half)
    layers = [keras.Input((64,)), *body.layers, body.head]
    return compiled(keras.Sequential(layers), recipe)


def _trained_body(data: Data) -> Model:
    """Two hidden layers trained to tell digits apart; `head` is the layer that told them."""
    import keras
    from keras import layers

    body = keras.Sequential(
        [keras.Input((64,)), layers.Dense(64, "relu"), layers.Dense(32, "relu")]
    )
    head = layers.Dense(int(data.y.max()) + 1, "softmax")
    model = keras.Sequential([body, head])
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    model.fit(data.X, data.y, epochs=10, verbose=0)
    body.head = head
    return body
