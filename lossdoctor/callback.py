"""The callback: records a run from inside `fit` and diagnoses it at the end."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal, Self

import keras

from lossdoctor.engine import resolve_rules
from lossdoctor.finding import Severity
from lossdoctor.record.assemble import RunAssembler
from lossdoctor.record.journal import Journal
from lossdoctor.record.lifetime import Interrupts, RunningFit
from lossdoctor.record.recorder import Recorder, brief
from lossdoctor.record.run import UNFINISHED, RunRecord
from lossdoctor.report import Report
from lossdoctor.report.live import LiveReport
from lossdoctor.rules import Rule
from lossdoctor.tensorboard import write_report


class LossDoctor(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Record a training run and say why its loss rises, stalls or is NaN, root cause first.

    The observer is pure: weights and logged losses are the same with and without it. Whatever
    goes wrong inside the doctor ends the recording with one warning and leaves training alone.

    Example:

    ```python
    doctor = LossDoctor()
    model.fit(X, y, epochs=100, callbacks=[doctor])   # prints a ranked report at the end
    doctor.report.findings[0]                         # the root cause
    doctor.record.save("run.lossdoctor")
    ```

    For loops over `train_on_batch`:

    ```python
    with LossDoctor(model) as doctor:
        for x, y in batches:
            model.train_on_batch(x, y)
    ```

    Args:
        model: Only for use as a context manager; `fit` hands the model to its callbacks itself.
        rules: Rule instances to run; by default all of them. Of two instances of one rule the
            last one counts: `rules=[*default_rules(), VanishingGradients(norm_ratio=1e-5)]`.
        ignore: Slugs of rules to leave out.
        verbose: 0 prints nothing; 1 the report after training, and a line at once for every error
            that is certain before it ends; 2 also such warnings, and what was clear.
        stop_on: `"error"` diagnoses after every epoch and sets `model.stop_training` at the first
            ERROR that training longer cannot cure. None never stops.
        record_path: Where to keep the record, from the first epoch on: of a process that is
            killed, all but the last epoch can still be diagnosed.
        log_dir: A TensorBoard folder. When training ends, the findings are written there as text
            and the gradient norm, update ratio and dead units of each epoch as curves, as a run
            of the name `lossdoctor` beside those of `keras.callbacks.TensorBoard(log_dir)`.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    def __init__(
        self,
        model: keras.Model | None = None,
        *,
        rules: Iterable[Rule] | None = None,
        ignore: Collection[str] = (),
        verbose: int = 1,
        stop_on: Literal["error"] | None = None,
        record_path: str | os.PathLike[str] | None = None,
        log_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if model is not None and not isinstance(model, keras.Model):
            raise ValueError(
                "`model` must be a Keras model (for `with LossDoctor(model):`), or None. "
                f"Received: model={model!r} of type {type(model).__name__}."
            )
        if verbose not in (0, 1, 2):
            raise ValueError(f"`verbose` must be 0, 1 or 2. Received: verbose={verbose!r}.")
        if stop_on not in (None, "error"):
            raise ValueError(f"`stop_on` must be None or 'error'. Received: stop_on={stop_on!r}.")
        for name, path in (("record_path", record_path), ("log_dir", log_dir)):
            if path is not None and not isinstance(path, (str, os.PathLike)):
                raise ValueError(
                    f"`{name}` must be a path, or None. Received: {name}={path!r} of type "
                    f"{type(path).__name__}."
                )
        self.rules, self.ignore = resolve_rules(rules, ignore)
        self.verbose = verbose
        self.stop_on = stop_on
        self.record_path = record_path
        self.log_dir = log_dir
        self._context_model = model
        self._reset()

    def _reset(self) -> None:
        self._recorder: Recorder | None = None
        self._journal: Journal | None = None
        self._attached = self._gave_up = self._warned = self._interrupted = False
        self._interrupts: Interrupts | None = None
        self._assembler: RunAssembler | None = None
        self._record: RunRecord | None = None
        self._report: Report | None = None
        self._live: LiveReport | None = None

    @property
    def record(self) -> RunRecord:
        """Everything measured in the last run; while it lasts, in its epochs so far.

        Raises:
            RuntimeError: If no run has been recorded yet.
        """
        if self._record is not None:
            return self._record
        if self._recorder is None or not self._attached:
            raise RuntimeError(
                "There is no record yet: pass this callback to model.fit(callbacks=[doctor]) and "
                "read `doctor.record` afterwards. Where `fit` raised before its first step, it "
                "could not use the data at all: check_config(model, y, x=X) says why."
            )
        return self._unfinished()

    @property
    def report(self) -> Report:
        """The diagnosis of the last run; while it lasts, of its epochs so far.

        Raises:
            RuntimeError: If no run has been recorded yet.
        """
        if self._report is None or self._report.record is not self._record:
            self._report = Report.of(self.record, rules=self.rules, ignore=self.ignore)
        return self._report

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begin(RunningFit())

    def _begin(self, fit: RunningFit | None) -> None:
        self._detach()
        self._reset()
        with self._harmless():
            self._assembler = RunAssembler(self.model, self.params or {}, fit)
            self._recorder = recorder = Recorder(
                self.model,
                planned_steps=self._assembler.planned_steps,
                on_first_step=self._assembler.open,
                on_failure=lambda error: self._on_error(recorder, error),
            )
            if fit is not None:
                fit.watch(lambda error: self._on_error(recorder, error))
        if self.record_path is not None:
            with self._writing(self.record_path):
                self._journal = Journal(self.record_path)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        recorder, assembler = self._recorder, self._assembler
        if recorder is None or assembler is None or self._gave_up:
            return
        # Not at an epoch's end: there the progress bar's line is still open.
        if self.verbose and self.model.built:
            self._look(recorder, assembler)
        with self._harmless():
            # Not in `on_train_begin`: another callback may still raise there, and nobody is told.
            if not self._attached:
                self._attached = True
                self._interrupts = Interrupts(self._on_interrupt)
                self._interrupts.watch()
                recorder.attach()
            recorder.begin_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        recorder, assembler = self._recorder, self._assembler
        if recorder is None or assembler is None:
            return
        with self._harmless():
            assembler.end_epoch(epoch, logs)
            if not self._gave_up:
                recorder.end_epoch()
        if self._journal is not None:
            with self._writing(self.record_path):
                self._journal.add(assembler.epochs[-1], self._unfinished)
        if self.stop_on == "error":
            with self._harmless():
                self._stop_on_error(recorder, assembler)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        stopped = "stop_training" if getattr(self.model, "stop_training", False) else None
        self._finish(stopped)

    def __enter__(self) -> Self:
        if self._context_model is None:
            raise ValueError("`with LossDoctor(model):` needs the model to observe.")
        self.set_model(self._context_model)
        self.set_params({})
        self._begin(None)
        self.on_epoch_begin(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        if self._recorder is not None:
            self.on_epoch_end(0)
        self._finish(None if error is None else _reason(error))

    def _on_error(self, recorder: Recorder, error: BaseException | None) -> None:
        """`fit` raises and will not call `on_train_end`, so the record closes here. Without an
        error its frames are being freed, maybe in the middle of something else: only let go."""
        if recorder is not self._recorder:
            return
        if error is None:
            self._detach()
            return
        with self._harmless():
            recorder.end_epoch()
        self._finish(_reason(error))

    def _on_interrupt(self) -> None:
        """Whoever catches it finds the model as it was, however long the exception is held."""
        if self._recorder is not None:
            self._interrupted = self._gave_up = True
            self._recorder.not_recorded["the rest of the run"] = "an interrupt ended the recording"
            self._detach()

    def _finish(self, stopped: str | None) -> None:
        recorder, assembler = self._recorder, self._assembler
        self._detach()
        self._recorder = self._assembler = None
        if recorder is None or assembler is None:
            return
        with self._harmless():
            self._record = assembler.record(recorder, stopped=stopped)
        if self._record is None:
            return
        if self._journal is not None:
            with self._writing(self.record_path):
                self._journal.replace(self._record)
        if self.log_dir is not None:
            with self._writing(self.log_dir):
                write_report(self.report, self.log_dir)
        if self.verbose:
            with self._harmless():
                self.report.print(verbose=self.verbose > 1)

    def _unfinished(self) -> RunRecord:
        assert self._recorder is not None
        assert self._assembler is not None
        stopped = "interrupted" if self._interrupted else UNFINISHED
        return self._assembler.record(self._recorder, stopped=stopped, measure=False)

    def _look(self, recorder: Recorder, assembler: RunAssembler) -> None:
        """Say what is certain about the run already."""
        if self._live is None:
            least = Severity.ERROR if self.verbose == 1 else Severity.WARNING
            self._live = LiveReport(self.rules, self.ignore, least=least)

        def record() -> RunRecord:
            if not assembler.completed_epochs:
                return assembler.configuration()
            return self._unfinished()

        # What fails here is told at the end; the recording must not end with it.
        with contextlib.suppress(Exception):
            self._live.look(record, alarm=recorder.first_bad is not None)

    def _stop_on_error(self, recorder: Recorder, assembler: RunAssembler) -> None:
        """Measuring the model costs as much as a short epoch: do so to confirm what the record
        without it shows, and after 1, 2, 4, 8, ... epochs for what only predictions tell."""

        def error(measure: bool) -> bool:
            record = assembler.record(recorder, measure=measure)
            return bool(Report.of(record, rules=self.rules, ignore=self.ignore).errors)

        epochs = assembler.completed_epochs
        if (epochs & (epochs - 1) == 0 or error(measure=False)) and error(measure=True):
            self.model.stop_training = True

    def _detach(self) -> None:
        if self._recorder is not None:
            self._recorder.detach()
        if self._interrupts is not None:
            self._interrupts.release()
            self._interrupts = None

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        """Training is worth more than its record: what fails ends the recording, with a warning.
        What was recorded until then is reported."""
        try:
            yield
        except Exception as error:
            self._detach()
            self._gave_up = True
            if self._recorder is not None:
                self._recorder.not_recorded["the rest of the run"] = (
                    f"recording ended early ({brief(error)})"
                )
            self._warn(f"stopped recording ({brief(error)})", "Please report this.")

    @contextlib.contextmanager
    def _writing(self, path: str | os.PathLike[str] | None) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._journal = None
            self._warn(f"cannot write to {path} ({brief(error)})")

    def _warn(self, what: str, please: str = "") -> None:
        """Once in a run: who reads the first warning need not read ten more."""
        if not self._warned:
            self._warned = True
            message = f"LossDoctor {what}; training goes on unchanged. {please}".strip()
            warnings.warn(message, stacklevel=2)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"exception: {type(error).__name__}: {error}"
