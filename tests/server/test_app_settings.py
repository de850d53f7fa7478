"""What an app was told by other means than its routes: honoured, never passed over in silence."""

from __future__ import annotations

import pytest

from .conftest import Serve
from .helpers import Answer, AppServer, stub

ROUTES = """
from pydantic import BaseModel
class Item(BaseModel):
    n: int
@app.post("/body")
def body(item: Item): return item
@app.get("/get")
def get(): return 1
@app.get("/raises")
def raises(): raise ValueError("for the eyes of the developer")
"""

GOOD_BODY = b'{"n": 1}'
JSON = "application/json"

SETTINGS = {
    "strict_content_type": (
        "app = FastAPI(strict_content_type=False)" + ROUTES,
        lambda server: server.ask("POST", "/body", GOOD_BODY),
        lambda answer: (answer.status, answer.body) == (200, b'{"n":1}'),
    ),
    "root_path": (
        "app = FastAPI(root_path='/api')" + ROUTES,
        lambda server: server.ask("GET", "/api/get"),
        lambda answer: (answer.status, answer.body) == (200, b"1"),
    ),
    "debug": (
        "app = FastAPI(debug=True)" + ROUTES,
        lambda server: server.ask("GET", "/raises"),
        lambda answer: answer.status == 500 and b"for the eyes of the developer" in answer.body,
    ),
    "max_body_size": (
        "app = FastAPI(max_body_size=4)" + ROUTES,
        lambda server: server.ask("POST", "/body", GOOD_BODY, content_type=JSON),
        lambda answer: answer.status == 413,
    ),
    "max_body_size of a route": (
        ROUTES.replace('app.post("/body"', 'app.post("/body", max_body_size=4'),
        lambda server: server.ask("POST", "/body", GOOD_BODY, content_type=JSON),
        lambda answer: answer.status == 413,
    ),
    "redirect_slashes": (
        "app = FastAPI(redirect_slashes=False)" + ROUTES,
        lambda server: server.ask("GET", "/get/"),
        lambda answer: answer.status == 404,
    ),
    "routes added at start-up": (
        """
from contextlib import asynccontextmanager
@asynccontextmanager
async def lifespan(app):
    @app.get("/later")
    def later(): return "later"
    yield
app = FastAPI(lifespan=lifespan)
""",
        lambda server: server.ask("GET", "/later"),
        lambda answer: answer.status == 200,
    ),
    "routes added to a router at start-up": (
        """
from contextlib import asynccontextmanager
router = APIRouter()
@asynccontextmanager
async def lifespan(app):
    @router.get("/later")
    def later(): return "later"
    yield
app = FastAPI(lifespan=lifespan)
app.include_router(router)
""",
        lambda server: [server.ask("GET", "/later"), server.ask("GET", "/openapi.json")],
        lambda answers: answers[0].status == 200 and b"/later" in answers[1].body,
    ),
    "an openapi() that is replaced while serving": (
        """
@app.get("/replace")
def replace(): app.openapi = lambda: {"mine": 1}
""",
        lambda server: [server.ask("GET", path) for path in ("/openapi.json", "/replace", "/openapi.json")],
        lambda answers: b"/replace" in answers[0].body and answers[2].body == b'{"mine":1}',
    ),
    "a model that no schema can describe": (
        """
from typing import Callable
from pydantic import BaseModel
class Odd(BaseModel):
    call: Callable[[int], int] | None = None
@app.post("/odd")
def odd(odd: Odd): return 1
""",
        lambda server: [server.ask("POST", "/odd", b"{}", content_type=JSON), server.ask("GET", "/openapi.json")],
        lambda answers: [answer.status for answer in answers] == [200, 500],
    ),
    "a documentation of its own": (
        """
from starlette.responses import PlainTextResponse
from starlette.routing import Route
async def docs(request): return PlainTextResponse(str(request.query_params))
app.router.routes.insert(0, Route("/docs", docs))
""",
        lambda server: server.ask("GET", "/docs?page=2"),
        lambda answer: answer.body == b"page=2",
    ),
    "a route whose app was wrapped": (
        """
from fastapi.routing import APIRoute
class Wrapped(APIRoute):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        inner = self.app
        async def wrapped(scope, receive, send):
            scope["query_string"] = b"n=5"
            await inner(scope, receive, send)
        self.app = wrapped
app.router.route_class = Wrapped
@app.get("/")
def root(n: int): return n
""",
        lambda server: server.ask("GET", "/"),
        lambda answer: (answer.status, answer.body) == (200, b"5"),
    ),
    "an overridden __call__": (
        """
class Mine(FastAPI):
    async def __call__(self, scope, receive, send):
        scope["path"] = scope.get("path", "").removeprefix("/mine")
        await super().__call__(scope, receive, send)
app = Mine()
"""
        + ROUTES,
        lambda server: server.ask("GET", "/mine/get"),
        lambda answer: answer.status == 200,
    ),
}
"""What the app is told; a request; what plain FastAPI under uvicorn answers to it."""


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_app_is_honoured(serve: Serve, name: str):
    """The answer that plain FastAPI gives, whichever way it goes."""
    source, request, is_as_plain = SETTINGS[name]
    server: AppServer = serve(stub(source))
    answer: Answer | list[Answer] = request(server)
    assert is_as_plain(answer), answer


def test_a_streamed_answer_of_a_compiled_route_is_sent_and_its_tasks_run(serve: Serve):
    """Not known before the endpoint returns it."""
    server = serve(
        stub("""
from fastapi.responses import StreamingResponse
@app.get("/")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(int)
    return StreamingResponse(iter([b"x", b"y"]))
""")
    )
    assert server.ask("GET", "/").body == b"xy"
    (task,) = server.wait_ended(1)
    assert task.flushed <= task.started < task.finished


@pytest.mark.parametrize("header", ["'x': 'a\\r\\nset-cookie: b=1'", "'x y': '1'", "'x': 'a\\0b'"])
def test_a_header_that_would_break_the_answer_is_not_sent(serve: Serve, header: str):
    """No response splitting: 500 or a closed connection, and never a header of somebody else's making."""
    server = serve(
        stub(f"@app.get('/')\ndef root(): return Response(b'x', headers={{{header}}})\n@app.get('/well')\ndef well(): return 1\n")
    )
    answer = server.ask("GET", "/")
    assert answer.status == 500
    assert answer.header("set-cookie") is None
    assert server.ask("GET", "/well").status == 200
