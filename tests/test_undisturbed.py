"""Interrupts wait for what must not be torn apart."""

import os
import signal
import threading

import pytest

from adapterlab.base.interrupts import undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_end_of_the_block(number: signal.Signals) -> None:
    heard: list[str] = []
    before = signal.signal(number, lambda *_: heard.append("signal"))
    try:
        with undisturbed():
            os.kill(os.getpid(), number)
            heard.append("inside")
        assert heard == ["inside", "signal"]
        os.kill(os.getpid(), number)
        assert heard[2:] == ["signal"]
    finally:
        signal.signal(number, before)


def tear() -> None:
    with undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("torn")


def test_an_error_inside_comes_before_the_signal() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(ValueError, match="torn"):
            tear()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_is_raised_after_the_block() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    reached = []
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # what comes after is the point
            with undisturbed():
                os.kill(os.getpid(), signal.SIGINT)
                reached.append("end")
            reached.append("after")
        assert reached == ["end"]
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_left_alone() -> None:
    """Handlers cannot be set in a thread that is not the main one, nor need they be."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with undisturbed():
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors
