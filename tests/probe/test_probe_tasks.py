"""Which tasks have rows, and what the rows say: every way in which people make a background task."""

from __future__ import annotations

import pytest

from harness.rows import UNTAGGED, DropReason, Gauge
from tests.server.helpers import Task, until

from .probed import ASYNC, DEF, EARLY, Probed


def names(tasks: list[Task]) -> list[str]:
    return [task.name for task in tasks]


@pytest.mark.parametrize("path", ["/two", "/router/two", "/mounted/two"])
def test_the_tasks_of_a_request_have_rows_with_its_operation_id(served: Probed, op: int, path: str):
    """Also in a router and in a mounted app: in order, with their kinds, each instant after the one before."""
    assert served.ask(path, op) == 200
    tasks = served.wait_tasks(op, 2)
    assert names(tasks) == ["plain", "coro"]
    assert [task.kind for task in tasks] == [DEF, ASYNC]
    assert [task.index for task in tasks] == [0, 1]
    for task in tasks:
        assert 0 < task.accepted <= task.flushed <= task.started <= task.finished
        assert (task.failed, task.dropped, task.flags) == (0, 0, 0)
        assert task.attempt == 1
    assert tasks[0].finished <= tasks[1].started


def test_middleware_of_the_base_class_changes_nothing_and_its_own_task_has_a_row(served: Probed, op: int):
    """The id reaches the tasks behind BaseHTTPMiddleware, and the one that the middleware put on its response."""
    assert served.ask("/middled/two", op) == 200
    tasks = served.wait_tasks(op, 3)
    assert sorted(names(tasks)) == ["coro", "nap", "plain"]
    assert all(task.finished and not task.dropped for task in tasks)


def test_a_request_without_an_id_has_rows_that_say_so(served: Probed, op: int):
    """Also one whose id is none: too short, no hex digits, or what int() would take and nobody meant."""
    before = {task.op for task in served.tasks()}
    bad = ["12", "xyz", "0x00000000000001", "+000000000000001", "1_00000000000001", "8000000000000001", "0" * 16]
    for text in bad:
        assert served.ask("/shared", headers={"X-Op-Id": text}) == 200
    assert served.ask("/shared") == 200
    new = until(lambda: len(found := {task.op for task in served.tasks()} - before) == len(bad) + 1 and found, "all have rows")
    assert all(number & UNTAGGED for number in new)


def test_when_a_task_raises_those_after_it_are_skipped(served: Probed, op: int):
    """The third of five: two finished, one failed, two dropped that never started."""
    served.ask("/five", op)
    tasks = served.wait_tasks(op, 5)
    assert [bool(task.finished) for task in tasks] == [True, True, False, False, False]
    assert tasks[2].failed
    assert tasks[2].name == "raises"
    assert [(task.reason, bool(task.dropped), task.started) for task in tasks[3:]] == [(DropReason.SKIPPED, True, 0)] * 2


@pytest.mark.parametrize("name", ["raises_cancelled", "asks_a_cancelled_future"])
def test_an_error_that_is_only_called_a_cancellation_is_a_failure(served: Probed, op: int, name: str):
    """One of the app's own, and that of `concurrent.futures` in a `def` task: the next task is skipped, as after any other."""
    served.ask(f"/ends-by/{name}", op)
    first, second = served.wait_tasks(op, 2)
    assert (bool(first.failed), first.dropped, first.reason) == (True, 0, DropReason.NONE)
    assert (bool(second.dropped), second.reason, second.started) == (True, DropReason.SKIPPED, 0)


def test_a_task_that_is_cancelled_while_its_server_goes_on_has_failed(served: Probed, op: int):
    """Its row says why, and the next one is skipped."""
    served.ask("/ends-by/cancels_itself", op)
    first, second = served.wait_tasks(op, 2)
    assert (bool(first.failed), first.dropped, first.reason) == (True, 0, DropReason.CANCELLED)
    assert (bool(second.dropped), second.reason, second.started) == (True, DropReason.SKIPPED, 0)


@pytest.mark.parametrize(("path", "status"), [("/refuses", 400), ("/breaks", 500)])
def test_the_tasks_of_an_endpoint_that_raises_are_discarded(served: Probed, op: int, path: str, status: int):
    """Written down, and as never to be run; before the refusal leaves."""
    assert served.ask(path, op) == status
    (task,) = served.wait_tasks(op, 1)
    assert (task.reason, task.started) == (DropReason.DISCARDED, 0)
    assert task.dropped


def test_injected_tasks_are_discarded_when_the_response_has_a_background_of_its_own(served: Probed, op: int):
    """FastAPI drops them in silence: known at once, while the response's own task still runs."""
    served.ask("/own", op)
    injected, own = served.wait_tasks(op, 2, ended=False)
    assert (injected.name, injected.reason, injected.started) == ("plain", DropReason.DISCARDED, 0)
    assert injected.dropped < (own.started or injected.dropped + 1)
    assert served.wait_tasks(op, 2)[1].finished


def test_tasks_of_dependencies_and_of_the_endpoint_are_one_list(served: Probed, op: int):
    """In the order in which they were added."""
    served.ask("/depends", op)
    assert names(served.wait_tasks(op, 2)) == ["plain", "coro"]


def test_tasks_on_a_response_have_rows_also_when_lists_are_in_lists(served: Probed, op: int):
    """One row for each function, none for the lists."""
    served.ask("/response", op)
    assert names(served.wait_tasks(op, 2)) == ["plain", "coro"]


def test_one_task_object_for_many_requests_has_a_row_in_each(served: Probed, op: int):
    """It knows nothing of a request: the id comes from the context in which it runs."""
    for each in (op << 8, op << 8 | 1, op << 8 | 2):
        served.ask("/shared", each)
        (task,) = served.wait_tasks(each, 1)
        assert (task.name, bool(task.finished)) == ("coro", True)


def test_partials_callable_objects_and_lambdas_have_their_names(served: Probed, op: int):
    """As the bundled server names them."""
    served.ask("/kinds", op)
    tasks = served.wait_tasks(op, 3)
    assert names(tasks) == ["coro", "Callable", "<lambda>"]
    assert [task.kind for task in tasks] == [ASYNC, ASYNC, DEF]


@pytest.mark.parametrize(("path", "name", "kind"), [("/twice", "coro", ASYNC), ("/loud", "plain", DEF)])
def test_task_classes_of_the_app_have_one_row(served: Probed, op: int, path: str, name: str, kind: int):
    """One that calls the function itself, and one that has Starlette do it."""
    served.ask(path, op)
    (task,) = served.wait_tasks(op, 1)
    assert (task.name, task.kind, bool(task.finished)) == (name, kind, True)


def test_a_list_that_goes_on_after_a_failure_is_believed(served: Probed, op: int):
    """What was taken for skipped is taken back when it starts."""
    served.ask("/stubborn", op)
    until(lambda: served.tasks(op)[-1:] and served.tasks(op)[-1].finished, "the second has run")
    first, second = served.tasks(op)
    assert first.failed
    assert second.finished
    assert not second.dropped


def test_tasks_called_by_hand_have_rows_that_say_so(served: Probed, op: int):
    """Before the answer: begun early. After the request has ended: what was discarded is taken back."""
    served.ask("/by-hand", op)
    (task,) = served.wait_tasks(op, 1)
    assert task.flags == EARLY
    assert task.accepted <= task.flushed == task.started <= task.finished
    served.ask("/later", later := op << 8)
    until(lambda: any(task.finished and task.name == "plain" for task in served.tasks(later)), "it has run")
    (task,) = [task for task in served.tasks(later) if task.name == "plain"]
    assert not task.dropped


def test_a_task_may_add_another(served: Probed, op: int):
    """It is accepted when it is added."""
    served.ask("/adds-more", op)
    until(lambda: len(served.tasks(op)) == 2, "there are two")
    more, plain = served.wait_tasks(op, 2)
    assert (more.name, plain.name) == ("more", "plain")
    assert more.started <= plain.accepted <= more.finished <= plain.started


def test_what_is_added_while_a_response_streams_is_accepted_before_its_end(served: Probed, op: int):
    """The last byte promises it."""
    served.ask("/stream", op)
    first, second = served.wait_tasks(op, 2)
    assert first.accepted <= second.accepted <= second.flushed <= first.started <= second.started
    assert first.finished
    assert second.finished


def test_the_tasks_of_a_torn_stream_are_discarded(served: Probed, op: int):
    """Starlette does not run them."""
    assert served.ask("/torn", op) == 0
    (task,) = served.wait_tasks(op, 1)
    assert (task.reason, task.started) == (DropReason.DISCARDED, 0)


def test_the_gauges_say_what_the_rows_say(served: Probed):
    """Counted separately, and equal when nothing runs."""
    for _ in range(20):
        served.ask("/five")
    pairs = [
        (Gauge.ACCEPTED, lambda task: True),
        (Gauge.STARTED, lambda task: task.started),
        (Gauge.FINISHED, lambda task: task.finished),
        (Gauge.FAILED, lambda task: task.failed),
        (Gauge.DROPPED, lambda task: task.dropped),
    ]
    until(lambda: all(task.ended for task in served.tasks()), "nothing runs")
    for gauge, is_one in pairs:
        until(lambda: served.gauge(gauge) == sum(1 for task in served.tasks() if is_one(task)), gauge.name)  # noqa: B023
    assert served.gauge(Gauge.REQUESTS) >= 20
    until(lambda: served.gauge(Gauge.REQUESTS_IN_FLIGHT) == 0, "all are answered")


def test_fastapi_never_runs_the_tasks_of_a_web_socket(served: Probed, op: int):
    """It takes them, and they are written down as discarded."""
    client = pytest.importorskip("websockets.sync.client")
    with client.connect(f"ws://127.0.0.1:{served.port}/socket", additional_headers={"X-Op-Id": f"{op:016x}"}):
        pass
    (task,) = served.wait_tasks(op, 1)
    assert (task.name, task.started, task.reason) == ("plain", 0, DropReason.DISCARDED)
