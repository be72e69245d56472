import signal
import threading

import pytest

import fmae_zoo
from fmae_zoo.interrupts import deferred_interrupts
from tests.conftest import tiny_spec


@pytest.fixture
def python_s_own_handler():
    """What a background job does not have: it starts with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_waits_for_its_moment_and_the_second_does_not(python_s_own_handler):
    with deferred_interrupts() as check:
        check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is python_s_own_handler


def test_in_another_thread_interrupts_are_left_alone(few):
    before = signal.getsignal(signal.SIGINT)
    inside = []

    def train():
        def look(*_):
            inside.append(signal.getsignal(signal.SIGINT))

        fmae_zoo.train(tiny_spec(), data=few, epochs=1, progress=look)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert set(inside) == {before}
