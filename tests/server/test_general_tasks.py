"""The general way: background tasks of routes that go through the whole app."""

from __future__ import annotations

import http.client
import time

import pytest

from .conftest import Serve, ServePlain
from .general_app import MIDDLEWARE, SOURCE
from .helpers import AppServer, Task, ask, general_stub, stays, until
from .plain import PlainServer

TARGETS = [
    "/html", "/yield", "/carried", "/carried-list", "/carried-nested", "/own-list", "/own-list-given", "/own-kind",
    "/own-response", "/both", "/raises", "/crashes", "/explained", "/stream",
    "/stream-late", "/stream-own-late", "/stream-breaks", "/sub/in",
]  # fmt: skip


def notes(output: str) -> list[str]:
    return [line.removeprefix("note ") for line in output.splitlines() if line.startswith("note ")]


class Pair:
    """The same app here and there."""

    def __init__(self, ours: AppServer, plain: PlainServer) -> None:
        self.ours = ours
        self.plain = plain

    def notes(self, target: str) -> tuple[list[str], list[str]]:
        """What a request to each made its tasks note, uvicorn's first, and that nothing more comes."""
        before = len(notes(self.plain.output())), len(notes(self.ours.stdout()))
        for port in (self.plain.port, self.ours.port):
            try:
                ask(port, "GET", target)
            except http.client.HTTPException:
                assert "breaks" in target
        time.sleep(0.15)

        def is_even() -> bool:
            return len(notes(self.plain.output())) - before[0] == len(notes(self.ours.stdout())) - before[1]

        # On a busy machine either may be the later one.
        until(lambda: is_even() and stays(is_even, 0.05), "as much happens as on uvicorn, and stays so")
        return notes(self.plain.output())[before[0] :], notes(self.ours.stdout())[before[1] :]


@pytest.fixture(scope="module", params=["general", "either"])
def bare(request: pytest.FixtureRequest, shared: Serve, plainly: ServePlain) -> Pair:
    """Without middleware: all routes by the general way, or each by the way that it would go."""
    source = SOURCE if request.param == "general" else SOURCE.replace("dependencies=[Depends(of_the_general_way)]", "")
    return Pair(shared(source), plainly(source))


@pytest.fixture(scope="module")
def layered(shared: Serve, plainly: ServePlain) -> Pair:
    return Pair(shared(SOURCE + MIDDLEWARE), plainly(SOURCE + MIDDLEWARE))


@pytest.mark.parametrize("target", TARGETS)
def test_tasks_and_what_surrounds_them_happen_in_uvicorns_order(bare: Pair, target: str) -> None:
    expected, ours = bare.notes(target)
    assert expected == ours


@pytest.mark.parametrize("target", TARGETS)
def test_they_do_behind_middleware_too(layered: Pair, target: str) -> None:
    expected, ours = layered.notes(target)
    assert expected == ours


@pytest.mark.parametrize("target", ["/html?replace=1", "/yield?replace=1", "/carried?replace=1"])
def test_tasks_of_a_response_that_a_middleware_replaced_run_after_the_one_in_its_place(layered: Pair, target: str) -> None:
    """In Starlette they may run before it is sent."""
    expected, ours = layered.notes(target)
    assert sorted(expected) == sorted(ours)
    rows = layered.ours.tasks()[-1:]
    assert all(row.flushed <= row.started for row in rows)


@pytest.mark.parametrize("target", ["/html?buffer", "/yield?buffer", "/stream?buffer"])
def test_tasks_of_a_response_that_a_middleware_holds_back_run_after_it_has_left(layered: Pair, target: str) -> None:
    expected, ours = layered.notes(target)
    assert sorted(expected) == sorted(ours)


def test_tasks_that_a_middleware_gives_to_the_response_run_after_those_of_the_endpoint(layered: Pair) -> None:
    """In Starlette both run at the same time."""
    expected, ours = layered.notes("/html?extra=1")
    assert sorted(expected) == sorted(ours)
    assert ours[-2:] == ["of the middleware", "after the app"]


def test_every_row_tells_the_story_of_its_task(bare: Pair, layered: Pair) -> None:
    """Accepted, flushed, started and ended in this order; tasks that never ran were discarded."""
    for pair in (bare, layered):
        for target in ("/html", "/raises", "/stream"):
            pair.notes(target)
        server = pair.ours
        rows = until(lambda server=server: all(row.ended for row in server.tasks()) and server.tasks(), "all tasks have ended")
        assert rows
        for row in rows:
            if row.reason:
                assert (row.reason, row.started, row.finished) == (3, 0, 0), row
            else:
                assert row.accepted <= row.flushed <= row.started <= row.finished, row
        assert {row.name for row in rows if row.kind == 2} >= {"anote"}


def rows_of(server: AppServer, op: int, count: int) -> list[Task]:
    def look() -> list[Task]:
        rows = [row for row in server.tasks() if row.op == op and row.ended]
        return rows if len(rows) >= count else []

    return until(look, f"{count} tasks of operation {op} have ended")


@pytest.mark.parametrize(("target", "names"), [
    ("/html", ["note", "note", "anote", "note"]), ("/carried-list", ["note", "anote", "note"]), ("/own-kind", ["OwnTask"]),
    ("/stream", ["note", "note", "anote"]), ("/stream-late", ["note"]), ("/sub/in", ["note"]), ("/own-response", ["note"]),
    ("/raises", ["note"]), ("/crashes", ["note"]), ("/both", ["note", "note"]), ("/explained", ["note", "note"]),
])  # fmt: skip
def test_rows_carry_the_operation_and_number_the_tasks(bare: Pair, target: str, names: list[str]) -> None:
    op = 0x5000 + abs(hash(target)) % 1000 + len(target) * 1000
    bare.ours.ask("GET", target, X_Op_Id=f"{op:x}")
    rows = rows_of(bare.ours, op, len(names))
    assert names == [row.name for row in sorted(rows, key=lambda row: row.index)]
    assert list(range(len(names))) == sorted(row.index for row in rows)


def test_a_dropped_list_is_warned_of(bare: Pair) -> None:
    """FastAPI drops it in silence."""
    bare.ours.ask("GET", "/both")
    assert "the 1 added by its endpoint do not run" in bare.ours.stderr()


@pytest.mark.parametrize("options", [["--order", "parallel"], ["--on-error", "stop"]])
def test_dependencies_are_closed_after_the_last_task_whatever_the_policy(serve: Serve, options: list[str]) -> None:
    server = serve(
        general_stub("""
def waits(seconds):
    time.sleep(seconds)
    print("end", seconds, flush=True)
    if seconds == 0.1:
        raise ValueError("and nothing after it, if so")


async def session():
    yield
    print("closed", flush=True)


@app.get("/")
async def root(tasks: BackgroundTasks, _=Depends(session)):
    for seconds in (0.2, 0.1, 0.15):
        tasks.add_task(waits, seconds)
"""),
        *options,
    )
    server.ask("GET", "/")
    until(lambda: "closed" in server.stdout(), "the dependency is closed")
    ends = ["end 0.1", "end 0.15", "end 0.2"] if "parallel" in options else ["end 0.2", "end 0.1"]
    assert server.stdout().splitlines() == [*ends, "closed"]
