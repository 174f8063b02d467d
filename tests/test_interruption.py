import os
import signal
import threading
from contextlib import suppress

import pytest

from pipeline import interruption
from pipeline.interruption import Interrupted


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_a_request_and_the_second_stops_at_once(signum):
    with interruption.handling():
        interruption.check()
        os.kill(os.getpid(), signum)
        assert interruption.requested() == signum
        with pytest.raises(Interrupted) as stopped:
            interruption.check()
        assert stopped.value.signum == signum
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signum)


def test_handlers_and_request_are_gone_after_the_block():
    before = signal.getsignal(signal.SIGTERM)
    with interruption.handling():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert interruption.requested() is None


def test_inner_block_keeps_the_outer_request():
    with interruption.handling():
        os.kill(os.getpid(), signal.SIGTERM)
        with interruption.handling():
            assert interruption.requested() == signal.SIGTERM
        assert interruption.requested() == signal.SIGTERM


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_at_once_where_nothing_is_half_done_but_is_a_request_where_something_may_be(signum):
    with interruption.stopping_at_once():
        with pytest.raises(Interrupted) as stopped:
            os.kill(os.getpid(), signum)
        assert stopped.value.signum == signum
    with interruption.stopping_at_once(), interruption.handling(), interruption.stopping_at_once():
        os.kill(os.getpid(), signum)
        assert interruption.requested() == signum
    assert interruption.requested() is None


def test_stop_that_was_swallowed_is_a_request():
    with interruption.stopping_at_once():
        with suppress(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        with interruption.handling():
            assert interruption.requested() == signal.SIGTERM


def test_interruption_is_no_ordinary_exception():
    assert not issubclass(Interrupted, Exception)


def test_other_threads_install_nothing():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with interruption.handling():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
