"""The end of a process: daemon threads are held, calls under way are waited for."""

from __future__ import annotations

import threading
from time import perf_counter, sleep

from convsmith.runtime.graph.gate import Gate


def daemon(work: object) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_a_daemon_in_a_loop_is_held_before_the_gate_is_closed() -> None:
    gate, outside = Gate(), [0]

    def loop() -> None:
        while True:
            gate.enter()
            gate.leave()
            outside[0] = 1  # as when it lets go of a result
            sleep(0.01)
            outside[0] = 0

    daemon(loop)
    while not outside[0]:
        sleep(0.001)
    gate.close()
    assert not outside[0]
    sleep(0.05)
    assert not outside[0]


def test_calls_under_way_are_waited_for() -> None:
    gate, done = Gate(), threading.Event()
    begun = threading.Event()

    def work() -> None:
        gate.enter()
        begun.set()
        sleep(0.1)
        gate.enter()  # a call within a call is let in, also while it is being closed
        gate.leave()
        done.set()
        gate.leave()

    daemon(work)
    begun.wait()
    gate.close()
    assert done.is_set()


def test_a_daemon_that_never_comes_back_delays_the_end_by_a_moment() -> None:
    gate, begun = Gate(), threading.Event()

    def work() -> None:
        gate.enter()
        gate.leave()
        begun.set()
        sleep(60)

    daemon(work)
    begun.wait()
    start = perf_counter()
    gate.close()
    assert perf_counter() - start < 30


def test_threads_that_end_by_themselves_are_let_in_and_not_waited_for() -> None:
    gate = Gate()
    gate.close()
    thread = threading.Thread(target=lambda: (gate.enter(), gate.leave()))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    gate.close()
