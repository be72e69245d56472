import signal
import threading
import time

import pytest

import fmae_zoo
from fmae_zoo import interrupts
from fmae_zoo.interrupts import deferred_interrupts, insistent_interrupts
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")


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


def test_an_interrupt_after_the_last_check_is_raised_at_the_end(python_s_own_handler, few):
    def stop(epoch, epochs, batch, batches, loss):
        if (epoch + 1, batch) == (epochs, batches):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fmae_zoo.train(tiny_spec(), data=few, epochs=1, progress=stop)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_is_lost_is_raised_again(python_s_own_handler, monkeypatch):
    monkeypatch.setattr(interrupts, "INSIST_AFTER", 0.05)

    class Loses:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    @insistent_interrupts()
    def loses_one():
        Loses()
        for _ in range(1000):
            time.sleep(0.01)  # A long sleep is interrupted at its end.

    with pytest.raises(KeyboardInterrupt):
        loses_one()
    assert signal.getsignal(signal.SIGINT) is python_s_own_handler


def test_a_training_defers_what_the_command_line_insists_on(python_s_own_handler):
    with insistent_interrupts(), deferred_interrupts() as check:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
