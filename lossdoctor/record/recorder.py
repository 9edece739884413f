"""The recorder: measures a run from inside Keras' compiled step without changing it.

Every step writes its batch's true loss, notes which units got a gradient, and leaves references to
the batch. Sampled steps, and those whose loss jumps or is not finite, look at gradients, weights
and updates, too. All this happens inside the step, into rings that are read once per epoch; during
the first pass over the data the host streams the batches into summaries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import operator
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.all_pairs import compares_all_pairs
from lossdoctor.record.gradients import beside, loss_scale, skips_steps
from lossdoctor.record.head import traced_head
from lossdoctor.record.logged_loss import LoggedLoss
from lossdoctor.record.mirror import BatchMirror
from lossdoctor.record.own_function import traced_by, tracing
from lossdoctor.record.replay import Replay, replay
from lossdoctor.record.replicas import replica, replicas, summed
from lossdoctor.record.ring import Ring
from lossdoctor.record.single_trace import traceable_once, variables_outside
from lossdoctor.record.spread import Spread
from lossdoctor.record.step_probe import BURST, DENSE_STEPS, Look, StepProbe, total
from lossdoctor.record.stream import DataStream
from lossdoctor.record.unit_watch import UnitTally, UnitWatch, watched_units

DETAIL_SAMPLES = 192
"""How many looks at gradients, weights and updates a record keeps."""
STEP_SAMPLES = 4096
"""How many steps a record keeps losses and global gradient norms of."""
STREAMED_BATCHES = 256
"""How many batches of the first pass are all looked at; of later ones every 8th, and the others
only counted."""
_STREAM_STRIDE = 8
RESCUED_BATCHES, RESCUED_ROWS = 32, 512
"""How much data is looked at when the very first steps raise."""
_ABSENT = object()
_RECORDING: weakref.WeakValueDictionary[int, Recorder] = weakref.WeakValueDictionary()
"""Who records which model, by its id."""


_Pairs = list[tuple[Any, Any]]


@dataclasses.dataclass
class _Row:
    """What the step being traced on one replica has computed so far.

    `judged` holds the targets and sample weights given to each `compute_loss`, and its value.
    `data` are the tensors of inputs, targets and predictions. `applied` holds the gradients given
    to the model's optimizer, each with its variable, then the learning rate and the loss scale;
    `applications` counts what all optimizers of the model were given.
    """

    loss: Any | None = None
    judged: list[tuple[Any, Any, Any]] = dataclasses.field(default_factory=list)
    data: list[list[Any]] = dataclasses.field(default_factory=lambda: [[], [], []])
    applied: tuple[_Pairs, Any, Any | None] | None = None
    applications: int = 0
    graph: Any = dataclasses.field(default_factory=tf.compat.v1.get_default_graph)


@dataclasses.dataclass(frozen=True)
class _Instruments:
    """What runs inside the step once the model has variables."""

    losses: Ring
    tally: UnitTally
    probe: StepProbe

    @property
    def rows(self) -> int:
        """How many steps can pass unread."""
        return min(self.losses.rows, self.probe.rows)


class Recorder:
    """Attaches to a compiled model for one `fit`, and comes off without a trace.

    Args:
        model: The compiled model.
        planned_steps: Number of optimizer steps to come, where known; spreads the samples.
        on_first_step: Called once, as soon as the model is built.
        on_failure: Called with the exception when the step itself raises.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        planned_steps: int | None = None,
        on_first_step: Callable[[], None] = lambda: None,
        on_failure: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self.model = model
        self.optimizer: Any = getattr(model, "optimizer", None)
        self.variables: list[Any] = []
        self.train_stream, self.validation_stream = DataStream(seed=0), DataStream(seed=1)
        self._mirrors: dict[str, list[BatchMirror]] = {"train": [], "validation": []}
        self.traced_heads: list[tuple[str | None, str | None, int | None]] = []
        self.traced_shapes: list[tuple[int | None, ...]] = []
        self.compares_all_pairs = False
        """Whether a step of the user's own compares targets `(n,)` with predictions `(n, 1)`."""
        self.applies_compiled_loss = False
        """Whether a step of the user's own trains on the compiled loss as Keras' does."""
        self.logs_stale_loss = False
        """Whether a step of the user's own logs as its loss a metric that it never updates."""
        self.not_recorded: dict[str, str] = {}
        self.epoch = 0
        self.step = 0
        self.steps: list[NDArray[Any]] = []
        self.details: list[Look] = []
        self.dead_units: list[tuple[int, NDArray[Any]]] = []
        self.epoch_loss_std: list[float] = []
        self.first_bad: tuple[int, int, float, Look | None] | None = None
        """Epoch, step and loss of the first numbers that were not finite, and what a look gave."""
        self.replayed: Replay | None = None
        self.connected: list[bool] = []
        """Which variables got a gradient; empty before the first step that showed any."""
        self._failed = False
        self._on_first_step = on_first_step
        self._primed = self._traced_once = False
        self._on_failure = on_failure
        self._jit = bool(getattr(model, "jit_compile", False))
        self._per_call = max(1, int(getattr(model, "steps_per_execution", 1)))
        self._phase: str | None = None
        self._streaming = {"train": True, "validation": True}
        self._stride = max(DENSE_STEPS, BURST * (planned_steps or 0) // DETAIL_SAMPLES)
        self._epoch_losses = Spread()
        self._functions: dict[str, Any] = {}
        self._replaced: list[tuple[dict[str, Any], str, Any]] = []
        self._instruments: _Instruments | None = None
        self._rows: dict[int, _Row] = {}
        self._next_look, self._drain_at = math.inf, 0
        self._awaited = bool(tf.config.list_logical_devices("GPU"))

    # Attaching -----------------------------------------------------------------------------

    def attach(self) -> None:
        """Wrap `train_step`, `compute_loss`, `optimizer.apply` and the step functions."""
        # Maybe of a `fit` that raised, kept alive by its exception: the newer one records.
        if (other := _RECORDING.get(id(self.model))) is not None:
            other.not_recorded["the rest of the run"] = "another LossDoctor records it"
            other.detach()
        _RECORDING[id(self.model)] = self
        if self._jit and (steps := self.model.steps_per_execution) > 1:
            self.not_recorded["data of every batch"] = (
                f"with steps_per_execution={steps} under XLA the host sees every {steps}th batch"
            )
        if all(layer.built for layer in self.model._flatten_layers()):
            self._open()
            self._prime()
            self._traced_once = traceable_once(self.model)
        model = self.model.__dict__
        self._replace(model, "evaluate", self._validating(self.model.evaluate))
        self._replace(model, "compute_loss", self._recording_loss(self.model.compute_loss))
        self._replace(model, "train_step", self._recording_step(self.model.train_step))
        for optimizer in _optimizers(self.model):
            if hasattr(optimizer, "apply"):
                apply = self._recording_apply(optimizer.apply, optimizer is self.optimizer)
                self._replace(optimizer.__dict__, "apply", apply)
        self._replace(model, "train_function", None)
        self._replace(model, "test_function", None)
        self.model.make_train_function(force=True)
        self.model.make_test_function(force=True)
        for name, phase in (("train_function", "train"), ("test_function", "validation")):
            observed = model[name] = self._observed(model[name], phase)
            self._functions[name] = observed

    def _replace(self, attributes: dict[str, Any], name: str, value: Any) -> None:
        self._replaced.append((attributes, name, attributes.get(name, _ABSENT)))
        attributes[name] = value

    def detach(self) -> None:
        """Leave the model as it was found. Safe to call twice."""
        while self._replaced:
            attributes, name, value = self._replaced[-1]
            if self._superseded(name):
                pass  # What was there before belongs to what the model was compiled with before.
            elif value is _ABSENT:
                attributes.pop(name, None)
            else:
                attributes[name] = value
            # Last: an interrupt may come between two lines.
            self._replaced.pop()
        if _RECORDING.get(id(self.model)) is self:
            del _RECORDING[id(self.model)]

    def _superseded(self, name: str) -> bool:
        """Whether somebody has put another function into the place of the observed one."""
        mine = self._functions.get(name)
        return mine is not None and self.model.__dict__.get(name) is not mine

    # Inside the step -----------------------------------------------------------------------

    def _recording_loss(self, compute_loss: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            loss = compute_loss(*args, **kwargs)
            with self._harmless("batch losses and data"):
                names = ("x", "y", "y_pred", "sample_weight")
                given = dict(zip(names, args)) | kwargs
                if self._phase == "train":
                    self._rows[replica()].judged.append(
                        (given.get("y"), given.get("sample_weight"), loss)
                    )
                self._see_batch(loss, *(given.get(name) for name in names))
            return loss

        return recorded

    def _recording_step(self, train_step: Callable[..., Any]) -> Callable[..., Any]:
        if (traced := traced_by(train_step)) is not None:
            return tracing(train_step, self._recording_step(traced))
        own = getattr(train_step, "__func__", None) is not keras.Model.train_step
        own_loss = own or type(self.model).compute_loss is not keras.Model.compute_loss

        def recorded(*args: Any, **kwargs: Any) -> Any:
            if self._phase != "train":
                return train_step(*args, **kwargs)
            row = self._rows[replica()] = _Row()
            logged = LoggedLoss()
            with contextlib.ExitStack() as stack:
                if own:
                    with self._harmless("batch losses"):
                        stack.enter_context(logged.watching(self.model))
                if self._traced_once:
                    stack.enter_context(variables_outside())
                logs = train_step(*args, **kwargs)
            if own_loss and tf.inside_function():
                with self._harmless("the axes of the targets"):
                    targets = keras.utils.unpack_x_y_sample_weight(*args, **kwargs)[1]
                    self.compares_all_pairs = compares_all_pairs(targets, row.graph)
            if own:
                with self._harmless("what the logged loss is"):
                    _, y, weight = keras.utils.unpack_x_y_sample_weight(*args, **kwargs)
                    self.logs_stale_loss = logged.stale(logs)
                    self.applies_compiled_loss = len(row.judged) == 1 and _same(
                        row.judged[0], (y, weight, logged.value(logs))
                    )
            with self._harmless("batch losses and data"):
                if row.loss is None and replicas() == 1:
                    loss = logged.of(logs)
                    unused = "the run's train_step does not call `compute_loss`, which applies it"
                    self.not_recorded["the loss"] = unused
                    x, y, weight = keras.utils.unpack_x_y_sample_weight(*args, **kwargs)
                    self._see_batch(loss, x, y, None, weight)
            with self._harmless("batch losses and gradient norms"):
                self._write(row)
            return logs

        return recorded

    def _write(self, row: _Row) -> None:
        """One row a step, whatever order and number of losses and gradients its code computes."""
        if row.applications > 1:
            several = f"the run's train_step applies gradients {row.applications} times a step"
            self.not_recorded["batch losses"] = f"{several}, maybe of several losses"
            self.not_recorded["gradient norms"] = several
            return
        self._open()
        gradients, rate, scale = [None] * len(self.variables), math.nan, None
        if row.applied is not None:
            with self._harmless("gradient norms"):
                gradients, rate, scale = self._applied(*row.applied)
        if replica() != 0:
            return
        inside, step = self._open(), None
        if row.loss is not None:
            step = inside.losses.write(tf.stack([row.loss, rate]))
        with self._harmless("gradient norms"):
            sound = inside.tally.see(gradients)
            if step is not None and gradients:
                always = replicas() > 1 or skips_steps(self.optimizer)
                inside.probe.see(step, row.loss, sound, row.data, gradients, scale, always=always)

    def _see_batch(self, loss: Any, x: Any, y: Any, y_pred: Any, weight: Any) -> None:
        if self._phase is None:
            return
        first, mirrors = replica() == 0, self._mirrors[self._phase]
        if len(mirrors) <= replica():
            mirrors.append(BatchMirror.of(x, y, weight, self._jit, self.model.steps_per_execution))
            if first and self._phase == "train":
                flat = [leaf for leaf in keras.tree.flatten(y_pred) if leaf is not None]
                self.traced_heads = [traced_head(leaf) for leaf in flat]
                self.traced_shapes = [tuple(leaf.shape) for leaf in flat]
        mirrors[replica()].write(x, y, weight)
        if self._phase == "train" and loss is not None:
            row, data = self._rows[replica()], [_floating(part) for part in (x, y, y_pred)]
            (row.loss,) = summed([tf.cast(loss, tf.float32)])
            # What replicas hold they have to add up at once.
            alone = replicas() == 1
            row.data = data if alone else [[sum_] for sum_ in summed([total(d) for d in data])]

    def _recording_apply(self, apply: Callable[..., Any], own: bool) -> Callable[..., Any]:
        """`own`: of the model's own optimizer, not of a second one."""

        def recorded(grads: Any, *args: Any, **kwargs: Any) -> Any:
            grads = list(grads)
            if self._phase == "train":
                with self._harmless("gradient norms"):
                    given = args[0] if args else kwargs.get("trainable_variables")
                    self._note_applied(grads, given, own)
            return apply(grads, *args, **kwargs)

        return recorded

    def _note_applied(self, grads: Sequence[Any], variables: Any, own: bool) -> None:
        row = self._rows[replica()]
        if tf.compat.v1.get_default_graph() is not row.graph:
            inside = "a function or a condition inside the run's train_step applies them"
            self.not_recorded["gradient norms"] = inside
            return
        row.applications += 1
        if own and all(gradient is None for gradient in grads):
            # Keras raises on these before the step could be read.
            self._open()
            self.connected = [False] * len(self.variables)
        if own:
            given = self.model.trainable_variables if variables is None else variables
            rate = tf.cast(tf.convert_to_tensor(self.optimizer.learning_rate), tf.float32)
            row.applied = list(zip(given, grads, strict=True)), rate, loss_scale(self.optimizer)

    def _open(self, variables: Sequence[Any] | None = None) -> _Instruments:
        """Prepare to watch the model's variables, once they exist; of a `train_step` of the user's
        own those which it trains."""
        if self._instruments is not None and variables is None:
            return self._instruments
        self.variables = list(variables or self.model.trainable_variables)
        # A look costs some operations a variable: deep models take fewer.
        self._stride = max(self._stride, len(self.variables))
        with tf.init_scope():
            self._instruments = _Instruments(
                Ring(STEP_SAMPLES, 2),
                UnitTally(watched_units(self.model, self.variables)),
                StepProbe(self.variables, self._jit),
            )
        self._next_look = 1
        return self._instruments

    def _prime(self) -> None:
        """Look at the model for the first time: before the first step where it is built by then.
        A model built by its first step only gets its variables' values while that step runs."""
        self._primed = True
        self._on_first_step()
        if self._instruments is not None and self.step == 0:
            self._instruments.probe.start()

    def _applied(self, pairs: _Pairs, rate: Any, scale: Any | None) -> tuple[Any, Any, Any]:
        gradients = {id(variable): gradient for variable, gradient in pairs}
        trained = [v for v in self.variables if id(v) in gradients]
        if 0 < len(trained) < len(self.variables):
            self._open(trained)
        found = [gradients[id(v)] for v in trained]
        self.connected = [gradient is not None for gradient in found]
        kept = summed([None if g is None else beside(g, self._jit) for g in found])
        return kept, rate, scale

    @contextlib.contextmanager
    def _harmless(self, what: str) -> Iterator[None]:
        """Training is worth more than its record: what cannot be recorded is noted and left."""
        try:
            yield
        except Exception as error:
            self._note(what, error)

    def _note(self, what: str, error: Exception) -> None:
        self.not_recorded.setdefault(what, f"recording failed ({brief(error)})")

    # Around the step -----------------------------------------------------------------------

    def _observed(self, function: Callable[[Any], Any], phase: str) -> Callable[[Any], Any]:
        def observed(iterator: Any) -> Any:
            outer, self._phase = self._phase, phase
            try:
                if phase == "train" and self.step >= self._next_look:
                    with self._harmless("update norms"):
                        self._ask()
                logs = function(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                raise
            except BaseException as error:
                self._phase = outer
                self._fail(error, iterator, phase)
                raise
            finally:
                self._phase = outer
            # Small steps feel every microsecond: no context manager.
            try:
                if phase == "train":
                    self._after_step(logs)
                if self._streaming[phase]:
                    self._stream(phase)
            except Exception as error:
                self._note("data statistics", error)
            return logs

        return observed

    def _validating(self, evaluate: Callable[..., Any]) -> Callable[..., Any]:
        """`fit` validates by `evaluate`, and what that raises outside its steps ends `fit` too."""

        def validating(*args: Any, **kwargs: Any) -> Any:
            try:
                return evaluate(*args, **kwargs)
            except BaseException as error:
                if kwargs.get("_use_cached_eval_dataset"):
                    self._on_failure(error)
                raise

        return validating

    def _fail(self, error: BaseException, iterator: Any, phase: str) -> None:
        """The step raised, for good: what the data were may be why, so look at some more."""
        self._failed = True
        stream = self.train_stream if phase == "train" else self.validation_stream
        if not isinstance(error, KeyboardInterrupt):
            with self._harmless("data statistics"):
                _rescue(stream, iterator)
        self._on_failure(error)

    def _wants_look(self, step: int) -> bool:
        return step < DENSE_STEPS or step % self._stride < self._per_call + BURST - 1

    def _ask(self) -> None:
        """Ask for looks at the steps to come."""
        self._next_look = self._stride * (self.step // self._stride + 1)
        probe = self._open().probe
        if self.step < DENSE_STEPS:
            probe.forget_start()
        else:
            probe.ask()

    def _after_step(self, logs: Any) -> None:
        if self.replayed is None and self._broken(logs):
            with self._harmless("where numbers stopped being finite"):
                self._replay()
        self.step = self.step + 1 if self._per_call == 1 else self._steps_executed()
        if not self._primed:
            self._prime()
        if self.step >= self._drain_at:
            self._drain()

    def _broken(self, logs: Any) -> bool:
        """Whether the running loss is not finite. On a CPU it is there to be looked at; a GPU would
        have to be waited for, which only sampled steps are worth."""
        loss: Any = logs.get("loss") if isinstance(logs, dict) else None
        if loss is None or (self._awaited and not self._wants_look(self.step)):
            return False
        try:
            return not math.isfinite(loss)
        except (TypeError, ValueError):
            return False

    def _replay(self) -> None:
        if self.train_mirror is None:
            return
        self.replayed = replay(
            self.model,
            self.train_mirror,
            self._instruments.probe.kept() if self._instruments else None,
            step=self.step + self._per_call - 1,
        )

    def _steps_executed(self) -> int:
        """The last execution of an epoch may hold fewer steps than the others."""
        written = 0 if self._instruments is None else self._instruments.losses.written
        return written or self.step + self._per_call

    def _stream(self, phase: str) -> None:
        mirrors = self._mirrors[phase]
        if not mirrors:
            return
        stream = self.train_stream if phase == "train" else self.validation_stream
        first = mirrors[0]
        inputs = sum(mirror is not None for mirror in first.inputs)
        for parts in zip(*(mirror.unread() for mirror in mirrors)):
            if stream.batches >= STREAMED_BATCHES and stream.batches % _STREAM_STRIDE:
                stream.skip(sum(rows for rows, _ in parts))
                continue
            read = zip(*(batch for _, batch in parts))
            leaves = [p[0] if len(p) == 1 else np.concatenate(p) for p in read]
            weight = None if first.weight is None else leaves.pop()
            stream.update(
                leaves[:inputs], leaves[inputs:], weight, rows=sum(rows for rows, _ in parts)
            )

    @property
    def train_mirror(self) -> BatchMirror | None:
        """The latest training batch (of the first replica)."""
        return next(iter(self._mirrors["train"]), None)

    @property
    def validation_mirror(self) -> BatchMirror | None:
        """The latest validation batch (of the first replica)."""
        return next(iter(self._mirrors["validation"]), None)

    @property
    def units(self) -> Sequence[UnitWatch]:
        """The layers whose dead units are counted."""
        return [] if self._instruments is None else self._instruments.tally.units

    # Reading -------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """Note that the steps to come belong to `epoch`."""
        self.epoch = epoch

    def end_epoch(self) -> None:
        """Read what the step wrote, and close the first pass over the data."""
        with self._harmless("batch losses and data"):
            self._drain()
            if self._epoch_losses.count:
                self.epoch_loss_std.append(self._epoch_losses.std)
                self._epoch_losses = Spread()
        with self._harmless("dead units"):
            self._read_units()
        if self._superseded("train_function"):
            self.not_recorded.setdefault(
                "the rest of the run",
                "another train_function was put into its place, as `model.compile` does",
            )
        self._note_missing()
        if self.train_stream.batches:
            self._close("train")
        if self.validation_stream.batches:
            self._close("validation")

    def _close(self, phase: str) -> None:
        """Of the passes over the data the first one told it all."""
        self._streaming[phase] = False
        for mirror in self._mirrors[phase]:
            if mirror.backlog is not None:
                mirror.backlog.close()

    def _note_missing(self) -> None:
        if "the rest of the run" in self.not_recorded:
            return
        raised = "the first step raised before it got that far" if self._failed else None
        if not self.steps:
            self.not_recorded.setdefault(
                "batch losses",
                raised or "the run's train_step neither calls `compute_loss` nor logs the loss",
            )
        if not self.connected:
            self.not_recorded.setdefault(
                "gradient norms",
                raised or "the run applies no gradients through `model.optimizer.apply`",
            )

    def _drain(self) -> None:
        if self._instruments is None:
            return
        self._drain_at = self.step + self._instruments.rows - self._per_call
        numbers, rows = self._instruments.losses.drain()
        looks = {look.step: look for look in self._instruments.probe.drain()}
        if not len(numbers):
            return
        losses, rates = rows.T
        self._epoch_losses.add(losses)
        norms, finite = np.full(len(numbers), np.nan), np.ones((len(numbers), 4), dtype=bool)
        for look in looks.values():
            if look.follows and self._wants_look(look.step):
                self.details.append(look)
            if 0 <= (row := look.step - numbers[0]) < len(numbers):
                norms[row] = look.norm
                finite[row] = look.finite
        self._note_first_bad(numbers, losses, finite, looks)
        epoch = np.full(len(numbers), self.epoch)
        self.steps.append(np.column_stack([numbers, epoch, losses, rates, norms, finite]))
        self._thin()

    def _note_first_bad(
        self,
        numbers: NDArray[Any],
        losses: NDArray[Any],
        finite: NDArray[Any],
        looks: dict[int, Look],
    ) -> None:
        gradients = finite[:, 3] | skips_steps(self.optimizer)
        bad = ~(np.isfinite(losses) & finite[:, :3].all(axis=1) & gradients)
        if self.first_bad is None and bad.any():
            index = int(np.argmax(bad))
            step = int(numbers[index])
            self.first_bad = (self.epoch, step, float(losses[index]), looks.get(step))

    def _thin(self) -> None:
        if sum(map(len, self.steps)) > 2 * STEP_SAMPLES:
            rows = np.concatenate(self.steps)
            early, late = STEP_SAMPLES // 8, STEP_SAMPLES // 8
            middle = rows[early:-late]
            looked = middle[np.isfinite(middle[:, 4])]
            every, each = _evenly(middle, 3 * STEP_SAMPLES // 8), _evenly(looked, STEP_SAMPLES // 8)
            kept = np.unique(np.concatenate([every, each]), axis=0)
            self.steps = [rows[:early], kept, rows[-late:]]
        if len(self.details) > DETAIL_SAMPLES:
            self._stride *= 2
            self.details = [
                d for d in self.details if self._wants_look(d.step) or d is self.details[-1]
            ]

    def _read_units(self) -> None:
        if self._instruments is None or not self.step:
            return
        dead = self._instruments.tally.dead()
        if dead is not None:
            self.dead_units.append((self.epoch, dead))


def _optimizers(model: keras.Model) -> list[Any]:
    """The optimizers a model keeps in its attributes, or in lists and dictionaries there."""
    found = {}
    for value in vars(model).values():
        members = value.values() if isinstance(value, dict) else value
        for item in members if isinstance(value, (dict, list, tuple)) else [value]:
            if isinstance(item, keras.optimizers.Optimizer):
                found[id(item)] = item
    found.pop(id(getattr(model.optimizer, "inner_optimizer", None)), None)
    return list(found.values())


def _same(tensors: Any, others: Any) -> bool:
    """Whether two nested structures hold the very same tensors."""
    flat, other = keras.tree.flatten(tensors), keras.tree.flatten(others)
    return len(flat) == len(other) and all(map(operator.is_, flat, other))


def _rescue(stream: DataStream, iterator: Any) -> None:
    """Stream what a failed step left unread. A dataset that lacks batches or targets is a cause of
    failure itself: its examples are taken as they come."""
    for data in itertools.islice(iterator, RESCUED_BATCHES):
        if stream.rows >= RESCUED_ROWS:
            return
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        stream.update(_leaves(x), _leaves(y), None if weight is None else np.asarray(weight))


def _leaves(tensors: Any) -> list[NDArray[Any]]:
    return [np.atleast_1d(leaf) for leaf in keras.tree.flatten(tensors) if leaf is not None]


def brief(error: BaseException) -> str:
    """An exception in one short line: Keras' own messages can hold whole tensors."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    first = lines[0] if len(lines) < 2 or not lines[0].startswith("Exception enc") else lines[1]
    return f"{type(error).__name__}: {first[:200]}"


def _floating(tensors: Any) -> list[Any]:
    """The dense floating-point tensors in a nested structure."""
    return [
        leaf
        for leaf in keras.tree.flatten(tensors)
        if tf.is_tensor(leaf)
        and not isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor))
        and leaf.dtype.is_floating
    ]


def _evenly(rows: NDArray[Any], at_most: int) -> NDArray[Any]:
    """Every so many of `rows`."""
    return rows[:: max(1, -(-len(rows) // at_most))]
