"""What happened: the immutable record every diagnosis rests on.

A record holds summaries only, never rows of the user's data, and its size does not depend on the
length of the run. Fields are `None` (or empty) where nothing was recorded; `not_recorded` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from lossdoctor.record._array import ArrayCodec

if TYPE_CHECKING:
    import os

Array = Annotated[NDArray[Any], ArrayCodec]

FORMAT_VERSION = 1
UNFINISHED = "unfinished: killed, or still going on"
"""What a record made in the middle of a run says of how it ended."""
NO_GRADIENT = "the loss has no gradient for any weight"
"""Why a training could not be rehearsed which Keras would refuse at its first step."""


@dataclass(frozen=True, kw_only=True)
class WeightRecord:
    """One variable of a layer, as it stood when the record was opened.

    `l1` and `l2` are the factors of the penalties on it (`keras.regularizers.L1`, `L2`, `L1L2`).
    """

    name: str
    path: str
    shape: tuple[int, ...]
    trainable: bool
    initializer: str | None = None
    mean: float = 0.0
    std: float = 0.0
    abs_max: float = 0.0
    l1: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """One operation of the model's graph, nested models flattened.

    `class_name` is the Keras class it is, or, for a user's own subclass, the closest Keras class it
    derives from (`custom` is then True). `inbound` are the indices of the layers it reads from.
    `config` keeps the plain values of the layer's configuration (rate, units, axis, ...).
    `pretrained` says why its weights are not fresh draws of their initializer, if they are not.
    """

    name: str
    class_name: str
    custom: bool = False
    activation: str | None = None
    inbound: tuple[int, ...] = ()
    input_shape: tuple[int | None, ...] | None = None
    output_shape: tuple[int | None, ...] | None = None
    weights: tuple[WeightRecord, ...] = ()
    trainable: bool = True
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def kernel(self) -> WeightRecord | None:
        """The layer's (first) kernel, a weight of at least two dimensions."""
        return next((w for w in self.weights if len(w.shape) >= 2), None)

    @property
    def bias(self) -> WeightRecord | None:
        """The layer's (first) bias."""
        return next((w for w in self.weights if w.name == "bias"), None)

    @property
    def units(self) -> int | None:
        """Number of units or filters, where the layer has them."""
        value = self.config.get("units", self.config.get("filters"))
        return int(value) if value is not None else None


@dataclass(frozen=True, kw_only=True)
class OutputRecord:
    """One output of the model: its head and what it can produce.

    `activation` is what the last operation does to its input, as Keras names it (`"softmax"`,
    `"sigmoid"`, `"linear"`, `"relu"`, ...), or None where it could not be determined.
    `inner_activation` is the activation just below it when nothing weighted stands between.
    `layer` indexes `ModelRecord.layers`: the last layer with weights on the way to this output.
    `softmax_axis_size` is the size of the axis a softmax head normalizes over.
    """

    name: str
    shape: tuple[int | None, ...]
    activation: str | None = None
    inner_activation: str | None = None
    activation_source: Literal["config", "graph", "unknown"] = "unknown"
    layer: int | None = None
    softmax_axis_size: int | None = None
    dtype: str = "float32"

    @property
    def units(self) -> int | None:
        """Size of the last axis; 1 for a rank-1 output."""
        return self.shape[-1] if len(self.shape) > 1 else 1


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The model's structure. `graph_known` is False for subclassed models: `layers` then stand in
    order of creation and their `inbound` is empty."""

    name: str
    class_name: str
    kind: Literal["sequential", "functional", "subclassed"]
    graph_known: bool
    layers: tuple[LayerRecord, ...]
    layer_names: tuple[str, ...] = ()
    """Names of `model.layers`, in its order; of a nested model only its own."""
    inputs: tuple[int, ...] = ()
    """Indices of the input layers in `layers`."""
    outputs: tuple[OutputRecord, ...] = ()
    parameters: int = 0
    trainable_parameters: int = 0
    custom_train_step: bool = False
    custom_compute_loss: bool = False
    compares_all_pairs: bool = False
    """One of these two combines targets `(n,)` with predictions `(n, 1)`, entry by entry."""
    applies_compiled_loss: bool = False
    """A `train_step` of the user's own trains on the compiled loss, and logs it."""
    logs_stale_loss: bool = False
    """A `train_step` of the user's own logs as its loss a metric that it never updates."""
    added_losses: int = 0
    """Number of tensors in `model.losses`: regularization penalties and `add_loss` terms."""

    @property
    def own_loss(self) -> str | None:
        """The method by which the model computes a loss of its own; None where it trains on the
        compiled one."""
        if self.custom_compute_loss:
            return "compute_loss"
        return "train_step" if self.custom_train_step and not self.applies_compiled_loss else None


@dataclass(frozen=True, kw_only=True)
class LossRecord:
    """The compiled loss of one output.

    `name` is the canonical snake-case name (`"binary_crossentropy"`) for a Keras loss and the
    object's own name otherwise (`custom` is then True).

    `baseline` is the value of this loss for the best constant prediction the head could make on
    the recorded targets, found numerically (`baseline_prediction` is that constant, per unit, in
    the head's output space). `floor` is its value for predictions equal to the targets: the
    soft-label entropy for a cross-entropy, 0 for most others. Both None where not computed.
    """

    name: str
    custom: bool = False
    from_logits: bool | None = None
    with_logits: bool = False
    """A custom loss applies a softmax or sigmoid to the predictions, and does not look for the
    logits behind them as Keras does."""
    aligns_ranks: bool = True
    """Keras adds or drops a last axis of one before the loss sees `y_true` and `y_pred`; False for
    a subclass of `keras.Loss` with a `call` of its own."""
    label_smoothing: float = 0.0
    adds_up: bool = False
    """Adds the examples of a batch up instead of averaging over them."""
    ignored_target: float | None = None
    """A loss of the user's own leaves predictions for this target out."""
    weight: float | None = None
    config: dict[str, Any] = field(default_factory=dict)
    baseline: float | None = None
    baseline_prediction: tuple[float, ...] = ()
    floor: float | None = None

    @property
    def prefers_constants(self) -> bool:
        """A loss of the user's own costs less for a constant than for the targets themselves."""
        if not self.custom or self.baseline is None or self.floor is None:
            return False
        return self.baseline < self.floor


@dataclass(frozen=True, kw_only=True)
class MetricRecord:
    """One compiled metric of one output. `requested` is what the user wrote (`"accuracy"`),
    `class_name` what Keras resolved it to (`"BinaryAccuracy"`), None where not resolved yet."""

    output: int
    name: str
    requested: str
    class_name: str | None = None
    aligns_ranks: bool = True
    """As for a loss; False for a function of the user's own."""


@dataclass(frozen=True, kw_only=True)
class OptimizerRecord:
    """The optimizer and its settings. `learning_rate` is the rate at the first step.

    `schedule` is the class name of a `LearningRateSchedule`, None for a plain number.
    `iterations` is how many steps it had taken before this record was opened.
    """

    class_name: str
    learning_rate: float | None = None
    schedule: str | None = None
    schedule_values: tuple[float, ...] = ()
    """The scheduled rate at 33 evenly spaced steps from the first to the last planned one."""
    momentum: float = 0.0
    nesterov: bool = False
    beta_1: float | None = None
    beta_2: float | None = None
    epsilon: float | None = None
    weight_decay: float | None = None
    clipnorm: float | None = None
    global_clipnorm: float | None = None
    clipvalue: float | None = None
    use_ema: bool = False
    gradient_accumulation_steps: int | None = None
    loss_scaling: bool = False
    iterations: int = 0
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CallbackRecord:
    """One of the other callbacks of the run and the plain values of its settings."""

    class_name: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FitRecord:
    """How `fit` was (or, in `check_config`, will be) called. None = not known."""

    epochs: int | None = None
    initial_epoch: int = 0
    steps_per_epoch: int | None = None
    batch_size: int | None = None
    shuffle: bool | None = None
    validation_split: float | None = None
    has_validation: bool | None = None
    class_weight: bool | None = None
    sample_weight: bool | None = None
    data: Literal["arrays", "dataset", "generator"] = "arrays"
    """What `fit` was given: arrays, a tf.data.Dataset, or something that yields batches."""
    run_eagerly: bool = False
    jit_compile: bool = False
    steps_per_execution: int = 1
    dtype_policy: str = "float32"
    callbacks: tuple[CallbackRecord, ...] | None = None
    completed_epochs: int = 0
    stopped: str | None = None
    """Why training ended early: "exception: ...", "interrupted", "stop_training", or `UNFINISHED`
    in a record made before its end; else None."""


@dataclass(frozen=True, kw_only=True)
class TensorSummary:
    """Summary of one tensor over examples (rows): an input, a target, a prediction, a weight.

    Scalar statistics run over every entry. Per-feature arrays have one entry per index of the last
    axis (per channel for images; a rank-1 tensor has one feature); they are empty when the last
    axis is longer than 4,096. Statistics ignore non-finite entries, which are counted apart.
    """

    name: str
    shape: tuple[int | None, ...]
    """Shape of one example; () for a rank-1 tensor of scalars."""
    dtype: str
    """As the user gave it: "float64", "int64", "bool", "string", "object", ..."""
    rows: int
    """How many examples of one pass over the data were looked at (0 = unknown)."""
    sampled_rows: int
    """How many of them the sampled statistics (quantiles, values, one_hot, ...) rest on."""

    mean: float
    std: float
    min: float
    max: float
    abs_max: float
    quantiles: tuple[float, ...] = ()
    """At 0, 1, 5, 25, 50, 75, 95, 99, 100 %."""
    nan_count: int = 0
    inf_count: int = 0
    zero_fraction: float = 0.0
    integral: bool = False
    """Every finite entry is a whole number (float tolerance 1e-6)."""
    nonfinite_rows: tuple[int, ...] = ()
    """First 20 rows with a non-finite entry, in data order; empty where the run shuffled them."""
    nonfinite_row_count: int = 0

    feature_mean: Array = field(default_factory=lambda: np.empty(0))
    feature_std: Array = field(default_factory=lambda: np.empty(0))
    feature_min: Array = field(default_factory=lambda: np.empty(0))
    feature_max: Array = field(default_factory=lambda: np.empty(0))
    feature_nonfinite: Array = field(default_factory=lambda: np.empty(0))
    feature_zero_fraction: Array = field(default_factory=lambda: np.empty(0))
    feature_end_shares: Array = field(default_factory=lambda: np.empty((2, 0)))
    """Share of sampled rows that hold exactly the smallest value of a feature, and the largest;
    shape `(2, features)` for tables."""
    feature_names: tuple[str, ...] = ()
    """Column names of a DataFrame; empty otherwise."""

    values: Array = field(default_factory=lambda: np.empty(0))
    """The distinct values, ascending, when there are at most 256 of them; else empty."""
    value_counts: Array = field(default_factory=lambda: np.empty(0))
    distinct: int = 0
    """Number of distinct values in the sample."""
    strings: tuple[str, ...] = ()
    """The first distinct strings of a non-numeric tensor that are not numbers (all of them are
    numbers written as text where none is). `feature_nonfinite` counts such words."""

    row_sum_min: float | None = None
    """Smallest and largest sum over the last axis, for tensors with at least 2 features."""
    row_sum_max: float | None = None
    one_hot_fraction: float = 0.0
    """Share of rows with exactly one entry 1 and all others 0 along the last axis."""
    argmax_counts: Array = field(default_factory=lambda: np.empty(0))
    """How often each index of the last axis holds the row's largest entry (2 to 4,096 features)."""
    row_entropy: float | None = None
    """Mean entropy in nats of rows that are distributions (min >= 0, sums 1); else None."""
    row_spread: float | None = None
    """Standard deviation over examples, averaged over features: 0 when every example is alike."""
    duplicate_fraction: float = 0.0
    """Share of sampled rows that repeat another one exactly."""
    trailing_zeros: float = 0.0
    """Mean number of steps at the end of an example that hold nothing but zeros; for examples of
    shape (steps,) or (steps, features)."""
    filler: float | None = None
    """The value other than 0 that makes up the last step of most examples, if there is one."""
    trailing_fill: float = 0.0
    """Mean number of steps at the end of an example that hold nothing but `filler`."""
    outlier_fraction: float = 0.0
    """Share of entries more than 10 robust standard deviations (1.4826 MAD) from the median."""
    skewness: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TargetPairing:
    """What only shows when targets and predictions of the same examples are seen side by side."""

    output: int
    rows: int
    error_rate: float | None = None
    """Share of examples whose decided class is wrong (argmax, or 0.5 / sign for one unit)."""
    chance_error_rate: float | None = None
    """Error rate of always answering the most frequent class."""
    r2: float | None = None
    """Coefficient of determination, for continuous targets."""
    column_r2: tuple[float, ...] = ()
    """The same of each target column that varies, where there are 2 to 16 of them."""
    saturated_wrong: float | None = None
    """Share of examples predicted 0 or 1 to within 1e-6 and wrong."""
    predicted_classes: int | None = None
    """How many distinct classes were predicted."""
    loss: float | None = None
    """The compiled loss of this output over the sampled examples."""


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """One side of the data, as the model got it: training or validation."""

    inputs: tuple[TensorSummary, ...] = ()
    targets: tuple[TensorSummary, ...] = ()
    predictions: tuple[TensorSummary, ...] = ()
    """From the last epoch recorded; empty in `check_config`."""
    initial_predictions: tuple[TensorSummary, ...] = ()
    """Of the untrained model: the first batch of a run, a sample of x in `check_config(x=)`."""
    pairing: tuple[TargetPairing, ...] = ()
    sample_weight: TensorSummary | None = None
    rows: int = 0
    """How many examples one pass over the data has; of a long one, not all were looked at."""
    batches: int = 0
    batch_size: int | None = None
    last_batch_size: int | None = None
    single_class_batches: float | None = None
    """Share of recorded batches whose examples all have one class."""
    batch_correlation: float | None = None
    """Correlation of two examples of a batch in their class, 0 within the chance of shuffled rows;
    None without classes, for few batches, and in `check_config`."""
    head_tail_classes: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Classes in the first and in the last fifth of y in its given order (`check_config` only)."""
    weighted_classes: tuple[tuple[float, float], ...] = ()
    """Each class of a single target and its share of the sampled rows' total weight, where sample
    or class weights were given; empty for quantities."""
    lists: tuple[str, ...] = ()
    """Which of "x" and "y" came as a Python list of numbers or rows (`check_config` only)."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Per-epoch logs as `fit` reports them. `epochs` counts from 0. All arrays have one entry per
    epoch; a log absent in an epoch is NaN there. `learning_rate` is empty when unknown."""

    epochs: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    logs: dict[str, Array] = field(default_factory=dict)
    learning_rate: Array = field(default_factory=lambda: np.empty(0))
    penalty: Array = field(default_factory=lambda: np.empty(0))
    """Sum of `model.losses` (regularization, add_loss) at each epoch's end; empty when unknown."""


@dataclass(frozen=True, kw_only=True)
class StepSeries:
    """Sampled optimizer steps: dense at the start, thinned later, the last ones always kept.

    All arrays have length S. `step` counts from 0 at the start of the recorded run.
    """

    step: Array
    epoch: Array
    loss: Array
    """The true loss of the batch, penalties included (not Keras' running mean)."""
    learning_rate: Array
    gradient_norm: Array
    """Global gradient norm before clipping, NaN at steps where nobody looked: all of the first 32
    are looked at, then three in a row now and then, and any whose loss has tripled or is not
    finite. What is not finite elsewhere is not noticed by the flags below."""
    inputs_finite: Array
    targets_finite: Array
    predictions_finite: Array
    gradients_finite: Array
    skipped: Array
    """True where loss scaling skipped the update."""
    total_steps: int = 0
    epoch_loss_std: Array = field(default_factory=lambda: np.empty(0))
    """Standard deviation of the batch loss inside each epoch, one entry per epoch."""


@dataclass(frozen=True, kw_only=True)
class VariableSeries:
    """Per-variable statistics at sampled steps; matrices are (S, V), V trainable variables.

    NaN = not measured at that step. `connected[v]` is False when the gradient was None.
    """

    paths: tuple[str, ...]
    layers: tuple[str, ...]
    """Name of the layer each variable belongs to."""
    roles: tuple[str, ...]
    """The variable's own name: kernel, recurrent_kernel, bias, gamma, beta, embeddings, ..."""
    sizes: tuple[int, ...]
    depth: tuple[int, ...]
    """Position of the variable's layer on the way from input (0) to head."""
    connected: tuple[bool, ...]
    step: Array
    gradient_norm: Array
    weight_norm: Array
    """After the step."""
    update_norm: Array
    """L2 norm of the change of the variable by this step. Of models with more than 2**15
    parameters, weights, updates and curvature are estimated from evenly spread entries."""
    gradient_zero_fraction: Array
    """Share of exactly zero entries of the gradient."""
    curvature: Array
    """Secant curvature <Δg, Δw>/<Δw, Δw> of the whole model along the previous step, length S."""
    curvature_norm: Array
    """‖Δg‖/‖Δw‖ of the whole model along the previous step, length S; NaN where not measured."""


@dataclass(frozen=True, kw_only=True)
class UnitSeries:
    """Units that got no gradient from any example of an epoch; matrices are (E, L)."""

    layers: tuple[str, ...]
    units: tuple[int, ...]
    epoch: Array
    dead_fraction: Array
    """Share of units whose incoming gradient was exactly zero all through the epoch."""


@dataclass(frozen=True, kw_only=True)
class ActivationRecord:
    """One layer's outputs over a sample of training rows in inference mode, after training."""

    layer: str
    activation: str | None
    rows: int
    mean: float
    std: float
    saturated_fraction: float | None = None
    """Share of entries in the flat tail (|tanh| > 0.99, sigmoid outside 0.01-0.99); else None."""
    finite: bool = True


@dataclass(frozen=True, kw_only=True)
class NonFiniteOrigin:
    """Where the first non-finite number of a run arose."""

    epoch: int
    step: int
    source: Literal["inputs", "targets", "sample_weight", "weights", "forward", "loss", "gradients"]
    """The first thing on the way from data to update that was not finite."""
    layer: str | None = None
    variable: str | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Optimizer steps taken on a copy of the model, before training, at one learning rate.

    `losses` holds the training loss of each step's batch before the step, up to and including the
    first that is not finite.
    """

    rate: float
    losses: Array

    @property
    def finite(self) -> bool:
        """Whether the loss stayed finite."""
        return bool(np.isfinite(self.losses).all())


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """The first steps of the training rehearsed before it begins.

    The first of `trials` follows the planned learning rate (at the peak of a schedule); the others
    are lower, and stand there only when the first one rose. `initial` is the loss of the rehearsed
    batches at the initial weights, `baseline` that of the best constant prediction, `floor` that of
    perfect ones.
    """

    initial: Array
    baseline: float | None
    floor: float
    trials: tuple[Trial, ...]
    calm_rate: float | None = None
    """The largest rate rehearsed, the planned one included, that stayed calm; None = none did."""
    sharpness: float | None = None
    """Largest eigenvalue of the loss' Hessian where the calm trial ends, in units of the optimizer:
    preconditioned as its steps are. None where not measured."""
    secant: float | None = None
    """Median of <Δg, Δw>/<Δw, Δw> over the steps of the calm trial, Δg on the step's own batch,
    preconditioned likewise."""

    @property
    def reference(self) -> float:
        """The loss a training must not end above: the initial one, or that of the best constant
        prediction where it is higher."""
        initial = float(np.mean(self.initial))
        return initial if self.baseline is None else max(initial, self.baseline)

    @property
    def scale(self) -> float:
        """The distance from the reference to the loss of perfect predictions."""
        return self.reference - self.floor

    def rise(self, trial: Trial) -> float:
        """How far the second half of a trial stands above the reference, in units of `scale`; its
        last quarter decides where that has come down below. Batches count as hard as they were at
        the initial weights: of a few small ones, the later can be the harder."""
        if not trial.finite:
            return float("inf")
        hardness = self.initial[: len(trial.losses)] - np.mean(self.initial)
        above = (trial.losses - hardness - self.reference) / self.scale
        half, quarter = above[len(above) // 2 :], above[len(above) * 3 // 4 :]
        return float(np.mean(half if np.mean(quarter) > 0 else quarter))

    def stays_calm(self, trial: Trial) -> bool:
        """Whether no quarter of a trial stands a tenth of `scale` above the initial loss of the
        same batches, and the last one not above it at all (but for the noise of dropout)."""
        if not trial.finite:
            return False
        above = (trial.losses - self.initial[: len(trial.losses)]) / self.scale
        quarters = [float(np.mean(part)) for part in np.array_split(above, 4) if len(part)]
        return max(quarters) <= 0.1 and quarters[-1] <= 0.02


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything measured about one training run, or one configuration, or one history.

    `source` says how it came to be: `"run"` (recorded by `LossDoctor`), `"config"`
    (`check_config`), `"history"` (`diagnose` of a history alone).

    `not_recorded` maps what is missing ("gradient norms", "validation data", ...) to the reason.
    `probes` holds numbers measured on the live model or its sampled data while recording, by name
    (see `lossdoctor.record.probes`), e.g. `{"linear_baseline": 0.31}`.
    """

    # Losses are NaN or infinite in the runs that matter most; JSON's null would lose which.
    __pydantic_config__ = ConfigDict(ser_json_inf_nan="constants")

    source: Literal["run", "config", "history"]
    versions: dict[str, str] = field(default_factory=dict)
    model: ModelRecord | None = None
    losses: tuple[LossRecord, ...] = ()
    metrics: tuple[MetricRecord, ...] | None = None
    """None = not known; () = none compiled."""
    optimizer: OptimizerRecord | None = None
    fit: FitRecord | None = None
    train: DataRecord | None = None
    validation: DataRecord | None = None
    history: History | None = None
    steps: StepSeries | None = None
    variables: VariableSeries | None = None
    units: UnitSeries | None = None
    activations: tuple[ActivationRecord, ...] = ()
    non_finite: NonFiniteOrigin | None = None
    rehearsal: Rehearsal | None = None
    probes: dict[str, float] = field(default_factory=dict)
    not_recorded: dict[str, str] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record to `path` (by convention `*.lossdoctor`) as checksummed JSON.

        Raises:
            OSError: If the file cannot be written; an existing file is then left as it was.
        """
        from lossdoctor.record.storage import save

        save(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> RunRecord:
        """Read a record written by `save`.

        Raises:
            FileNotFoundError: If there is no such file.
            RecordError: If the file is damaged, foreign, or of a newer format.
        """
        from lossdoctor.record.storage import load

        return load(path)
