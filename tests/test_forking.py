"""What each process has one of."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from wsgisessions.forking import OnePerProcess


def test_threads_that_wait_for_a_failure_share_it():
    attempts, others_wait = [], threading.Event()

    def make():
        attempts.append(1)
        assert others_wait.wait(10)
        raise ConnectionError("nobody there")

    one = OnePerProcess(make)

    def get(_):
        with pytest.raises(ConnectionError):
            one.get()

    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(get, number) for number in range(4)]
        threading.Timer(0.2, others_wait.set).start()
        for call in calls:
            call.result()
    assert len(attempts) == 1


def test_a_failure_keeps_nothing_of_the_request_alive():
    class Request:
        pass

    def make():
        raise ConnectionError("nobody there")

    def serve(request):
        with pytest.raises(ConnectionError):
            one.get()
        return weakref.ref(request)

    one = OnePerProcess(make)
    request = serve(Request())
    gc.collect()
    assert request() is None


def test_a_failure_is_not_remembered():
    answers = iter([ConnectionError("nobody there"), "client"])

    def make():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    one = OnePerProcess(make)
    with pytest.raises(ConnectionError):
        one.get()
    assert one.get() == "client"


def test_what_is_dropped_is_made_anew_once():
    one = OnePerProcess(object)
    first = one.get()
    one.drop(first)
    second = one.get()
    assert second is not first
    one.drop(first)
    assert one.get() is second
