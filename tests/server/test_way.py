"""The option `way`: every route through the whole app, to find out whether a difference is the straight way's."""

from __future__ import annotations

import httpx
import pytest
from click.testing import CliRunner

import server
from server.__main__ import main

app = server.FastrAPI()
done: list[int] = []


@app.get("/items/{n}")
def item(n: int, background_tasks: server.BackgroundTasks) -> int:
    background_tasks.add_task(done.append, n)
    return n


@pytest.mark.parametrize("way", ["auto", "general"])
def test_every_route_goes_the_general_way_if_the_server_is_told_so(way: str):
    """Also FastAPI's own pages and what no route takes. The answers stay the same, and so do the tasks."""
    done.clear()
    with server.running(app, way=way, admin_port=0) as running:
        routes = httpx.get(f"http://127.0.0.1:{running.admin_port}/routes").json()
        answers = [httpx.get(f"{running.url}{path}") for path in ("/items/5", "/items/x", "/nothing", "/openapi.json")]
    assert [answer.status_code for answer in answers] == [200, 422, 404, 200]
    assert done == [5]
    assert {route["way"] for route in routes} == ({"general"} if way == "general" else {"fast", "constant"})
    if way == "general":
        assert all("the server was told to" in route["reason"] for route in routes)


def test_an_app_that_allows_no_general_way_is_not_served_so():
    strict = server.FastrAPI(strict_fast_path=True)
    with pytest.raises(server.UnsupportedRoute, match="told to"), server.running(strict, way="general"):
        pass


def test_no_other_way_is_taken():
    with pytest.raises(ValueError, match="way is 'fast'; allowed is 'auto' or 'general'"):
        server.ServerConfig(way="fast")
    result = CliRunner().invoke(main, ["appmod:app", "--way", "fast"])
    assert (result.exit_code, "'fast' is not one of 'auto', 'general'" in result.output) == (2, True)
