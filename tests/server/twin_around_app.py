"""Two apps that are served three times: one with exception handlers of its own for everything, one with middleware."""

HANDLERS = """
from FRAMEWORK import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException as StarletteHTTPException

calls = []
def note(name): calls.append(name)
class Mine(Exception): pass
class Child(Mine): pass
class Teapot(HTTPException):
    def __init__(self, detail): super().__init__(418, detail)

async def on_404(request, error): return PlainTextResponse(f"404 {error.detail} {request.url.path}", 404)
app = FastAPI(exception_handlers={404: on_404})
@app.exception_handler(405)
def on_405(request, error):
    return PlainTextResponse(f"405 {error.detail} {request.method}", 405, {"x-allow": str(sorted(error.headers["Allow"]))[:2]})
@app.exception_handler(RequestValidationError)
async def on_invalid(request, error):
    return JSONResponse({"invalid": [[e["loc"], e["type"]] for e in error.errors()], "body": error.body}, 400)
@app.exception_handler(ResponseValidationError)
def on_bad_answer(request, error): return JSONResponse({"bad": len(error.errors())}, 502)
@app.exception_handler(StarletteHTTPException)
async def on_http(request, error):
    return JSONResponse({"http": error.detail}, error.status_code, {"x-e": type(error).__name__, **(error.headers or {})})
@app.exception_handler(Mine)
def on_mine(request, error):
    note("handler")
    return PlainTextResponse(f"{type(error).__name__} {error}", 460, background=BackgroundTask(note, "task of the handler"))
class Detailed(Exception): pass
@app.exception_handler(Detailed)
async def on_detailed(request, error):
    body = (await request.body()).decode()
    return JSONResponse([request.path_params, request.scope["route"].path, request.scope["endpoint"].__name__, body,
        request.method, str(request.url_for("detailed", a=1, b="x")).split("/", 3)[3],
        request.query_params.multi_items(), request.app is app,
        getattr(request.state, "mine", "nothing"), error.__context__ is None, error.__traceback__ is not None], 462)
@app.exception_handler(KeyError)
async def on_key(request, error): raise HTTPException(450, "handlers raise too")
@app.exception_handler(OSError)
async def on_os(request, error): raise error
@app.exception_handler(Exception)
async def on_anything(request, error): return JSONResponse({"anything": type(error).__name__}, 500, {"x-any": "1"})

@app.get("/calls")
def take_calls():
    taken = list(calls)
    calls.clear()
    return taken
class Item(BaseModel):
    name: str
def raised(what):
    return {"mine": Mine("m"), "child": Child("c"), "key": KeyError("k"), "os": OSError("o"), "teapot": Teapot("t"),
        "404": HTTPException(404, "mine"), "405": HTTPException(405, "m", {"Allow": "X"}),
        "409": HTTPException(409, {"a": 1}, {"x-h": "2"}),
        "204": HTTPException(204), "500": HTTPException(500, "five"), "starlette": StarletteHTTPException(410),
        "value": ValueError("v"), "stop": StopAsyncIteration("s")}[what]
@app.get("/raise/{what}")
def raise_it(what: str, tasks: BackgroundTasks):
    tasks.add_task(note, "never")
    raise raised(what)
@app.get("/araise/{what}")
async def araise_it(what: str, n: int = 0): raise raised(what)
@app.get("/depraise/{what}")
def dep_raise(what: str, value=Depends(araise_it)): return 1
def d_yield():
    note("enter")
    try: yield
    except BaseException as error:
        note(f"saw {type(error).__name__}")
        raise
    finally: note("exit")
@app.get("/yieldraise/{what}")
def yield_raise(what: str, value=Depends(d_yield)): raise raised(what)
@app.get("/detailed/{a}/{b}", name="detailed")
def detailed(a: int, b: str): raise Detailed
@app.post("/adetailed/{a}")
async def adetailed(a: int, item: dict): raise Detailed
@app.post("/ddetailed/{a}")
def ddetailed(a: int, item: dict): raise Detailed
async def d_state(request: Request): request.state.mine = "set by a dependency"
@app.get("/sdetailed")
def sdetailed(value=Depends(d_state)): raise Detailed
@app.post("/rdetailed")
async def rdetailed(request: Request, item: dict):
    request.state.mine = await request.json()
    raise Detailed
@app.post("/odetailed")
async def odetailed(n: int, item: dict | None = None): raise Detailed
@app.post("/item")
def item(item: Item, n: int = 1): return item
@app.get("/bad", response_model=Item)
def bad(): return {"no": 1}
@app.get("/good")
def good(): return 1
"""

MIDDLEWARE = """
from FRAMEWORK import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

calls = []
def note(name): calls.append(name)

class Pure:
    def __init__(self, app, name):
        self.app, self.name = app, name
    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["path"] == "/calls": return await self.app(scope, receive, send)
        note(f"{self.name} begins")
        async def noted(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-pure", self.name.encode())]}
            await send(message)
        try:
            await self.app(scope, receive, noted)
        finally:
            note(f"{self.name} ends")
class Base(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        if request.url.path == "/calls": return await call_next(request)
        note("base begins")
        if "stop" in request.query_params:
            return PlainTextResponse("stopped", 440, background=BackgroundTask(note, "task of base"))
        response = await call_next(request)
        response.headers["x-base"] = str(response.status_code)
        note("base ends")
        return response

app = FastAPI(middleware=[Middleware(Pure, name="first")])
app.add_middleware(Pure, name="inner")
app.add_middleware(Base)
@app.middleware("http")
async def decorated(request: Request, call_next):
    if request.url.path == "/calls": return await call_next(request)
    note("decorated begins")
    if "raise" in request.query_params: raise LookupError("in the middleware")
    try:
        response = await call_next(request)
    except ValueError as error:
        note(f"decorated saw {error}")
        return JSONResponse({"caught": str(error)}, 441)
    if "replace" in request.query_params: response = PlainTextResponse("replaced")
    note("decorated ends")
    return response
app.add_middleware(GZipMiddleware, minimum_size=200)
app.add_middleware(CORSMiddleware, allow_origins=["https://good.example"], allow_methods=["GET", "PUT"], allow_credentials=True,
    allow_headers=["x-wanted"], expose_headers=["x-pure"])
app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "*.good.example"])
@app.exception_handler(LookupError)
async def on_lookup(request, error): return PlainTextResponse(f"lookup {error}", 461)

@app.get("/calls")
def take_calls():
    taken = list(calls)
    calls.clear()
    return taken
def d_yield():
    note("enter")
    yield
    note("exit")
@app.get("/plain")
def plain(n: int = 1):
    note("endpoint")
    return n
@app.put("/big")
async def big(request: Request): return {"big": "x" * 1000, "seen": len(await request.body())}
@app.get("/tasks")
async def tasks(tasks: BackgroundTasks, value=Depends(d_yield)):
    tasks.add_task(note, "task")
    note("endpoint")
    return 1
@app.get("/raise/{what}")
def raises(what: str, tasks: BackgroundTasks):
    tasks.add_task(note, "never")
    raise {"http": HTTPException(409), "lookup": LookupError("l"), "value": ValueError("v"), "os": OSError("o")}[what]
@app.get("/taskraises")
def task_raises(tasks: BackgroundTasks):
    def fail():
        note("fails")
        raise LookupError("a task")
    tasks.add_task(fail)
    tasks.add_task(note, "never, after one that raised")
    return 1
async def parts():
    for i in range(3): yield f"part {i} " * 50
@app.get("/stream")
async def stream(): return StreamingResponse(parts(), background=BackgroundTask(note, "after the stream"))
@app.get("/cookie")
def cookie(response: Response):
    response.set_cookie("a", "1")
    return 1
"""
