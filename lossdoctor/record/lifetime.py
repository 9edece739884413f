"""The call of `fit` a callback is in: who else it calls, and when it ends by raising.

Keras tells a callback neither. Both are read off the `CallbackList` and the epoch iterator that
`fit` makes for one call and that nobody else sees: an exception on its way out of `fit` passes
through the hooks of the one or the context manager of the other (or through `evaluate`, which the
recorder wraps). What passes by all of them, such as a KeyboardInterrupt while Keras sets up the
validation data, is noticed when the list is freed, with the exception that holds it.
"""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

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
