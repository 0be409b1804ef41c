"""What must be made anew in the child after a fork: locks that nobody here would release, connections."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from copy import copy
from typing import Any, Generic, TypeVar
from weakref import ReferenceType, ref

T = TypeVar("T")

# Not WeakMethods: before Python 3.12 those complain when the interpreter exits.
_methods: list[tuple[ReferenceType[Any], Callable[[Any], None]]] = []
_process = os.getpid()
_noticing = threading.Lock()


def call_after_fork(owner: T, method: Callable[[T], None]) -> None:
    """Call `method(owner)` in the child after each fork, for as long as the owner lives."""
    with _noticing:
        _methods[:] = [each for each in _methods if each[0]() is not None]
        _methods.append((ref(owner), method))


def notice_fork() -> None:
    """Catch up on a fork that Python was not told of, as uWSGI's is not without `py-call-osafterfork`."""
    if os.getpid() != _process:
        with _noticing:
            if os.getpid() != _process:
                _after_fork()


def _after_fork() -> None:
    global _process, _noticing
    _process = os.getpid()
    _noticing = threading.Lock()  # a thread of the parent may have held it
    for reference, method in tuple(_methods):
        living = reference()
        if living is not None:
            method(living)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class OnePerProcess(Generic[T]):
    """One object a process: made at its first use, and made anew by a child after a fork.

    The child leaves the parent's object alone and alive: to close an inherited connection would end the
    parent's too.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._inherited: list[list[T]] = []
        self._failures = 0
        self._last_failure: Exception | None = None
        self._lock = threading.Lock()
        call_after_fork(self, type(self)._leave_to_parent)

    def get(self) -> T:
        """Return this process's object.

        Threads that wait while one of them tries in vain to make it share its failure: they would try one
        after the other, each for as long.
        """
        notice_fork()
        try:
            return self._made[0]
        except IndexError:
            failures = self._failures
            with self._lock:
                if not self._made:
                    self._try_to_make(failures)
                return self._made[0]

    def _try_to_make(self, failures_before: int) -> None:
        if self._last_failure is not None and self._failures > failures_before:
            raise copy(self._last_failure)
        try:
            self._made.append(self._make())
        except Exception as error:
            self._failures += 1
            # A copy, without the traceback: that would keep alive a whole request.
            self._last_failure = copy(error)
            raise
        self._last_failure = None

    def drop(self, made: T) -> None:
        """Forget an object of this process, unless another has taken its place; the next `get` makes another."""
        with self._lock:
            if self._made and self._made[0] is made:
                self._made.pop()

    def take(self) -> T | None:
        """Return this process's object, if there is one, for closing; the next `get` makes another."""
        notice_fork()
        with self._lock:
            return self._made.pop() if self._made else None

    def _leave_to_parent(self) -> None:
        self._inherited.append(self._made)
        self._made = []
        self._lock = threading.Lock()
