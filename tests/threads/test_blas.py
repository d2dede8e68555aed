"""The number of BLAS threads after any calls is what it was before, or what the user has set since."""

import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import neurodecorr as nd
from neurodecorr._numerics.blas import one_pool, one_thread, own_threads, threads, workers

BLAS = [library for library in threadpool_info() if library["user_api"] == "blas"]
alone = pytest.mark.skipif(not BLAS, reason="no BLAS whose threads can be counted")


def counts():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def two():
    """Two threads for every BLAS, whatever the machine has."""
    with threadpool_limits(2, user_api="blas"):
        yield


@alone
@pytest.mark.parametrize("first", [one_thread, lambda: one_pool(300)])
@pytest.mark.parametrize("second", [one_thread, lambda: one_pool(300)])
def test_limits_that_cross_leave_what_they_found(first, second):
    before = counts()
    a, b = first(), second()
    a.__enter__()
    b.__enter__()
    a.__exit__(None, None, None)
    b.__exit__(None, None, None)
    assert counts() == before


@alone
def test_limits_that_cross_between_threads_leave_what_they_found(together):
    before, entered, left, seen = counts(), threading.Event(), threading.Event(), []

    def work(k):
        if k == 0:
            with one_thread():
                entered.set()
                assert left.wait(60)
                seen.append(set(counts()))  # another thread has left; this one still wants one
        else:
            assert entered.wait(60)
            with one_thread(), one_pool(300):
                pass
            left.set()

    together(work, 2)
    assert seen == [{1}] and counts() == before


@alone
@pytest.mark.parametrize("limit", [lambda: one_thread(1000), lambda: one_pool(300)])
def test_large_matrices_run_on_the_threads_of_one_library(limit):
    with limit():
        assert sorted(counts()) == [1] * (len(BLAS) - 1) + [2]
        assert threads() == 2


@alone
def test_threads_that_blas_leaves_go_to_blocks_of_work():
    assert workers() == 2
    with own_threads():
        assert workers() == 2 and threads() == 1
        with own_threads():  # nothing is left to leave
            assert workers() == 1
    with one_thread(), own_threads():
        assert workers() == 1
    assert workers() == 2


@alone
def test_an_error_inside_leaves_what_was_there():
    before = counts()
    for limit in (one_thread, lambda: one_pool(300)):
        with pytest.raises(ZeroDivisionError), limit(), limit():
            1 / 0  # noqa: B018
        assert counts() == before


@alone
def test_what_the_user_sets_between_calls_or_meanwhile_stays():
    with one_thread():
        assert set(counts()) == {1}
    with threadpool_limits(1, user_api="blas"):
        with one_thread():
            assert set(counts()) == {1}
        assert set(counts()) == {1}
    assert set(counts()) == {2}
    outer = threadpool_limits(1, user_api="blas")
    with one_thread():
        outer.restore_original_limits()
        assert set(counts()) == {2}
    assert set(counts()) == {2}


@alone
def test_scipys_pool_keeps_its_threads_for_blocks_of_many_units():
    with one_pool(300):
        assert threads() == 2 and sum(counts()) == len(counts()) + 1
        with one_thread():
            assert set(counts()) == {1}
        assert threads() == 2
    assert set(counts()) == {2}


@alone
@pytest.mark.threads
def test_many_calls_from_many_threads_leave_the_threads_as_they_were(together, rng):
    before, X, plan = counts(), rng.standard_normal((50, 12)), nd.plasticity.LearningRule()
    circuit = nd.Circuit(np.eye(12) * 2 + rng.standard_normal((12, 12)) / 10)

    def work(k):
        with one_thread(3) if k % 2 else one_pool(300):
            nd.settle(circuit, X, method="direct")
            nd.integrate(circuit, X[0], 1.0, "exponential")
        nd.plasticity.learn(nd.plasticity.initial_state(X, plan), X, plan)

    sys.setswitchinterval(1e-6)
    together(work, 8, rounds=40)
    assert counts() == before


@alone
def test_a_child_forked_while_others_hold_the_limit_has_its_threads(script):
    found = script(
        """
        import os, threading
        from threadpoolctl import threadpool_info, threadpool_limits
        from neurodecorr._numerics.blas import one_thread
        counts = lambda: {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
        threadpool_limits(2, user_api="blas")
        inside, done = threading.Event(), threading.Event()
        def hold():
            with one_thread():
                inside.set()
                done.wait(60)
        other = threading.Thread(target=hold)
        other.start()
        inside.wait(60)
        if os.fork() == 0:
            assert counts() == {2}, counts()
            with one_thread():
                assert counts() == {1}
            assert counts() == {2}
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        with one_thread():
            if os.fork() == 0:
                done.set()
                assert counts() == {1}
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.wait()[1]))
        done.set()
        other.join()
        print(counts())
        """
    )
    assert found.split() == ["0", "0", "{2}"]
