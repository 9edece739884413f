"""The call of `fit` a callback is in: who else it calls, and when it ends by raising.

Keras tells a callback neither. Both are read off the `CallbackList` and the epoch iterator that
`fit` makes for one call and that nobody else sees: an exception on its way out of `fit` passes
through the hooks of the one or the context manager of the other (or through `evaluate`, which the
recorder wraps). What passes by all of them is noticed when the list is freed, with the exception
that holds it. A KeyboardInterrupt, which a notebook holds on to, is noticed when it strikes.
"""

from __future__ import annotations

import contextlib
import inspect
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from lossdoctor.record.arrays import kind_of_data

OnError = Callable[[BaseException | None], None]


class RunningFit:
    """The call of `fit` in progress, found from inside a hook of one of its callbacks."""

    def __init__(self) -> None:
        self.callbacks: keras.callbacks.CallbackList | None = None
        self.settings: dict[str, Any] = {}
        """How `fit` was called, as fields of a `FitRecord`; empty where its frame is not found."""
        self._batches: Any = None
        frame = inspect.currentframe()
        while frame is not None and self._batches is None:
            caller, iterator = map(frame.f_locals.get, ("self", "epoch_iterator"))
            if self.callbacks is None:
                if isinstance(caller, keras.callbacks.CallbackList):
                    self.callbacks = caller
            elif hasattr(iterator, "catch_stop_iteration"):
                self._batches, self.settings = iterator, _settings(frame.f_locals)
            frame = frame.f_back

    def watch(self, on_error: OnError) -> None:
        """Call `on_error` with what `fit` raises, before the caller of `fit` sees it; with None
        when the call is over, whether or not it raised."""
        if self.callbacks is None:
            return
        for name in dir(type(self.callbacks)):
            if name.startswith("on_"):
                _tell(self.callbacks, name, on_error)
        if self._batches is not None:
            _tell(self._batches, "catch_stop_iteration", on_error)
        weakref.finalize(self.callbacks, on_error, None).atexit = False


def _settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    split, shuffle = arguments.get("validation_split"), arguments.get("shuffle")
    return {
        "validation_split": float(split) if split else None,
        "shuffle": bool(shuffle) if isinstance(shuffle, (bool, str)) else None,
        "class_weight": arguments.get("class_weight") is not None,
        "data": kind_of_data(arguments.get("x")),
    }


def _tell(owner: Any, name: str, on_error: OnError) -> None:
    """Let `on_error` see what the method `name` raises, or the context it returns."""
    method = getattr(type(owner), name)
    # A strong reference would keep the owner alive, and with it everything `fit` holds.
    weak = weakref.proxy(owner)

    def telling(*args: Any, **kwargs: Any) -> Any:
        with _telling(on_error):
            result = method(weak, *args, **kwargs)
        return _inside(result, on_error) if hasattr(result, "__exit__") else result

    owner.__dict__[name] = telling


@contextlib.contextmanager
def _inside(context: Any, on_error: OnError) -> Iterator[Any]:
    with _telling(on_error), context as value:
        yield value


@contextlib.contextmanager
def _telling(on_error: OnError) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        on_error(error)
        raise


class Interrupts:
    """Tells of a KeyboardInterrupt the moment it strikes, whatever line of `fit` that is.

    Args:
        on_interrupt: A method to call; only a weak reference to its owner is kept.
    """

    def __init__(self, on_interrupt: Callable[[], None]) -> None:
        self._on_interrupt = weakref.WeakMethod(on_interrupt)
        self._handler: Any = None

    def watch(self) -> None:
        """Stand before the current handler of Ctrl-C, where there is one in Python."""
        handler = _handler()
        if handler is not None:
            self._handler = handler
            signal.signal(signal.SIGINT, self)

    def release(self) -> None:
        """Put the former handler back, unless somebody has set another one."""
        if _handler() is self:
            signal.signal(signal.SIGINT, self._handler)

    def __call__(self, number: int, frame: Any) -> None:
        try:
            self._handler(number, frame)
        except BaseException:
            if (on_interrupt := self._on_interrupt()) is not None:
                on_interrupt()
            raise


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a KeyboardInterrupt wait for the end of the block."""
    handler, waiting = _handler(), []
    if handler is None:
        yield
        return
    signal.signal(signal.SIGINT, lambda *args: waiting.append(args))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if waiting:
            handler(*waiting[0])


def _handler() -> Any:
    """What handles Ctrl-C now; None outside the main thread, which alone may set it."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    return handler if callable(handler) else None
