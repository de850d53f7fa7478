"""A third app that is served three times: forms and files, streams, `yield` dependencies, mounts, routers, response models."""

SOURCE = """
import asyncio, enum, os, tempfile
from contextlib import asynccontextmanager
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar, Union
from FRAMEWORK import (APIRouter, BackgroundTasks, Body, Cookie, Depends, FastAPI, File, Form, Header, HTTPException, Path, Query,
    Request, Response, UploadFile)
from fastapi.responses import (FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse)
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field, computed_field, field_serializer
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.routing import Mount, Route

calls = []
def note(name): calls.append(name)
async def anote(name): calls.append(name)

@asynccontextmanager
async def lifespan(app):
    app.state.begun = True
    yield {"from_lifespan": ["a"]}

app = FastAPI(lifespan=lifespan)

@app.get("/calls")
def take_calls():
    taken = list(calls)
    calls.clear()
    return taken
@app.get("/lifespan")
async def in_lifespan(request: Request): return [request.app.state.begun, request.state.from_lifespan]
@app.get("/nolifespan")
def def_lifespan(request: Request):
    request.state.mine = 1
    return [request.app.state.begun, request.state.from_lifespan]

# a. Forms and files.
class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=2)
    age: int = 7
    tags: list[str] = []
@app.post("/form/fields")
def fields(a: Annotated[str, Form()], n: Annotated[int, Form(gt=2)] = 5,
        the_b: Annotated[str | None, Form(alias="the-b")] = None):
    return [a, n, the_b]
@app.post("/form/afields")
async def afields(a: Annotated[str, Form()], n: int = Form(5)): return [a, n]
@app.post("/form/model")
def form_model(login: Annotated[Login, Form()]): return login
@app.post("/form/list")
def form_list(tag: Annotated[list[int], Form()] = []): return tag
@app.post("/form/bytes")
def form_bytes(file: Annotated[bytes, File()]): return [len(file), file.decode("latin-1")]
@app.post("/form/upload")
async def form_upload(file: UploadFile):
    return [file.filename, file.content_type, file.size, (await file.read()).decode("latin-1"),
        sorted(dict(file.headers).items())]
@app.post("/form/dupload")
def form_dupload(file: UploadFile): return [file.filename, file.size, file.file.read().decode("latin-1")]
@app.post("/form/uploads")
def form_uploads(files: list[UploadFile], note: Annotated[str, Form()] = "none"): return [[f.filename for f in files], note]
@app.post("/form/optional")
def form_optional(file: UploadFile | None = None, a: str | None = Form(None)): return [file and file.filename, a]
@app.post("/form/raw")
async def form_raw(request: Request):
    form = await request.form()
    return [[name, value if isinstance(value, str) else [value.filename, value.size]] for name, value in form.multi_items()]
@app.post("/form/dep")
def form_dep(a: Annotated[str, Form()], b=Depends(lambda n=Form(1): n)): return [a, b]
@app.post("/form/tasks")
def form_tasks(file: UploadFile, tasks: BackgroundTasks):
    tasks.add_task(note, f"file {file.filename}")
    return 1

# b. Streams.
def numbers(n):
    for i in range(n):
        note(f"part {i}")
        yield f"{i},"
async def anumbers(n, fail=None):
    for i in range(n):
        if i == fail: raise ValueError("in the stream")
        yield f"{i},".encode()
        await asyncio.sleep(0)
@app.get("/stream/def")
def stream_def(n: int = 3): return StreamingResponse(numbers(n), 201, {"x-s": "1"}, "text/x-parts")
@app.get("/stream/async")
async def stream_async(n: int = 3, fail: int | None = None): return StreamingResponse(anumbers(n, fail))
@app.get("/stream/length")
def stream_length(): return StreamingResponse(anumbers(3), headers={"content-length": "6"})
@app.get("/stream/tasks")
async def stream_tasks(tasks: BackgroundTasks, n: int = 3):
    tasks.add_task(note, "after the stream")
    return StreamingResponse(numbers(n))
@app.get("/stream/owntask")
def stream_own_task(): return StreamingResponse(numbers(2), background=BackgroundTask(anote, "own task"))
@app.get("/stream/bothtasks")
def stream_both_tasks(tasks: BackgroundTasks):
    tasks.add_task(note, "never, as the answer carries its own")
    return PlainTextResponse("x", background=BackgroundTask(note, "own task"))
path = os.path.join(tempfile.mkdtemp(), "a file.txt")
with open(path, "w") as file: file.write("0123456789" * 30)
os.utime(path, (1_600_000_000, 1_600_000_000))
@app.get("/file")
def a_file(): return FileResponse(path, filename="näme.txt")
@app.get("/fileclass", response_class=FileResponse)
async def file_class(): return path
@app.get("/nofile")
def no_file(): return FileResponse("/nowhere/at/all")
@app.get("/lines")
async def lines(n: int = 2):
    for i in range(n): yield {"i": i, "s": "ü"}
@app.get("/deflines")
def def_lines(n: int = 2):
    for i in range(n): yield Item(name=str(i))
@app.get("/sse", response_class=EventSourceResponse)
async def sse():
    yield {"a": 1}
    yield ServerSentEvent(data="text", event="named", id="5", retry=10)

# c. Dependencies that yield.
def d_yield(n: int = 0):
    note("enter def")
    try:
        if n == 1: raise HTTPException(418, "before the yield")
        yield f"value {n}"
        note("after def")
    except HTTPException as error:
        note(f"def saw {error.status_code}")
        raise
    except ValueError as error:
        note(f"def saw {error}")
        if n == 3: raise HTTPException(409, "made of a ValueError")
        raise
    finally:
        note("exit def")
async def d_ayield(first=Depends(d_yield)):
    note("enter async")
    try:
        yield [first]
    finally:
        note("exit async")
async def d_plain(value=Depends(d_ayield)):
    note("plain")
    return value
async def d_exit_raises():
    yield
    note("exit raises")
    raise HTTPException(500, "at the exit")
async def d_function():
    note("enter function")
    yield
    note("exit function")
class Manager:
    def __init__(self, m: int = 1): self.m = m
    async def __call__(self):
        note("enter object")
        yield self.m
        note("exit object")
@app.get("/yield/def")
def yield_def(value=Depends(d_yield)):
    note("endpoint")
    return value
@app.get("/yield/async")
async def yield_async(value=Depends(d_plain), again=Depends(d_ayield)):
    note("endpoint")
    return [value, again is value]
@app.get("/yield/tasks")
async def yield_tasks(tasks: BackgroundTasks, value=Depends(d_ayield)):
    tasks.add_task(anote, "task a")
    tasks.add_task(note, "task b")
    note("endpoint")
    return value
@app.get("/yield/own")
def yield_own_response(tasks: BackgroundTasks, value=Depends(d_yield)):
    tasks.add_task(note, "task")
    return Response("own")
@app.get("/yield/function")
def yield_function(tasks: BackgroundTasks, value=Depends(d_function, scope="function"), other=Depends(d_yield)):
    tasks.add_task(note, "task")
    note("endpoint")
    return 1
@app.get("/yield/object")
async def yield_object(value=Depends(Manager(5)), other=Depends(Manager(6))): return [value, other]
@app.get("/yield/raises")
def yield_raises(value=Depends(d_yield), what: str = "value"):
    note("endpoint")
    raise {"value": ValueError("a value"), "http": HTTPException(404, "http"), "key": KeyError("key")}[what]
@app.get("/yield/raisestasks")
def yield_raises_tasks(tasks: BackgroundTasks, value=Depends(d_ayield)):
    tasks.add_task(note, "never")
    raise HTTPException(404)
@app.get("/yield/exit")
def yield_exit(value=Depends(d_exit_raises), other=Depends(d_yield)): return 1
@app.get("/yield/stream")
def yield_stream(value=Depends(d_yield)): return StreamingResponse(numbers(2))
@app.get("/yield/query")
def yield_query(n: int, value=Depends(d_yield)): return n
@app.get("/limited")
async def limited(value=Depends(lambda n=1: n, max_concurrency=1)): return value

# d. Mounts, routers, other kinds of routes.
sub = FastAPI(title="sub")
@sub.get("/items/{n}")
def sub_item(n: int, request: Request, tasks: BackgroundTasks):
    tasks.add_task(note, f"task of sub {n}")
    return [n, request.url.path, request.scope["root_path"], str(request.url_for("sub_item", n=1)).split("/", 3)[3]]
@sub.get("/raises")
def sub_raises(): raise LookupError("sub")
@sub.exception_handler(LookupError)
def sub_handler(request, error): return PlainTextResponse(f"sub {error}", 461)
app.mount("/sub", sub)
async def star(request):
    return PlainTextResponse(f"star {request.path_params} {request.method}", background=BackgroundTask(note, "star"))
app.mount("/star", Starlette(routes=[Route("/a/{x:int}", star), Route("/b", star, methods=["POST"])]))
app.router.routes.append(Route("/bare/{x}", star))
app.add_route("/added", star, methods=["GET", "PUT"])
async def asgi(scope, receive, send):
    await send({"type": "http.response.start", "status": 207, "headers": [(b"x-path", scope["path"].encode())]})
    await send({"type": "http.response.body", "body": b"asgi"})
app.mount("/asgi", asgi)
@app.get("/convert/{n:int}/{rest:path}")
def convert(n: int, rest: str): return [n, rest]
@app.get("/float/{n:float}")
def convert_float(n: float): return n
@app.get("/file.{kind}")
def part_of_segment(kind: str): return kind
inner = APIRouter(prefix="/inner", tags=["b"], dependencies=[Depends(lambda: note("inner"))], responses={404: {}})
@inner.get("/{n}", name="inner item")
def inner_item(n: int): return [n, take_calls()]
@inner.get("", include_in_schema=False)
def inner_root(): return "inner root"
@inner.post("/both/")
def inner_both(): return "both"
outer = APIRouter(prefix="/outer/{tenant}", tags=["a", enum.Enum("Tags", {"c": "c"}).c],
    dependencies=[Depends(lambda tenant: note(f"outer {tenant}"))])
outer.include_router(inner, prefix="/more", dependencies=[Depends(lambda q="q": note(f"include {q}"))])
app.include_router(outer, prefix="/v1", deprecated=True)
app.include_router(outer, prefix="/v2")
strict = APIRouter(redirect_slashes=False)
@strict.get("/strict/")
def strict_slash(): return "strict"
app.include_router(strict)
@app.api_route("/many", methods=["GET", "HEAD", "OPTIONS", "POST"])
def many_methods(request: Request): return request.method
@app.head("/headonly")
async def head_only(): return Response(headers={"x-head": "1", "content-length": "17"})
@app.get("/getter")
def getter(tasks: BackgroundTasks):
    tasks.add_task(note, "getter")
    return "a body with a length"

# e. Response models.
class Item(BaseModel):
    name: str
    price: float = 1.5
    tags: set[str] = set()
class Secret(Item):
    password: str = "secret"
class Deep(BaseModel):
    item: Item
    items: list[Secret] = []
    none: int | None = None
    by: dict[str, Item] = {}
class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True, from_attributes=True)
    first: int = Field(alias="theFirst")
    second: int = Field(2, serialization_alias="outSecond")
    @computed_field
    @property
    def total(self) -> int: return self.first + self.second
    @field_serializer("second")
    def double(self, value: int) -> str: return str(value * 2)
class Plain:
    first, theFirst, name, price, tags = 4, 5, "plain", 2, {"a"}
T = TypeVar("T")
class Page(BaseModel, Generic[T]):
    values: list[T]
secret = Secret(name="n", price=3, tags={"t"})
deep = Deep(item=secret, items=[secret], by={"k": secret})
def model(path, value, response_model=None, **options):
    @app.get("/model/" + path, response_model=response_model, **options)
    def endpoint(): return value
model("filtered", secret, Item)
model("list", [secret, {"name": "d", "password": "p"}], list[Item])
model("dict", {"a": secret}, dict[str, Item])
model("union", secret, Union[Item, Aliased])
model("union2", {"theFirst": 5}, Union[Item, Aliased])
model("deep", deep, Deep)
model("unset", deep, Deep, response_model_exclude_unset=True)
model("defaults", deep, Deep, response_model_exclude_defaults=True)
model("none", deep, Deep, response_model_exclude_none=True)
model("include", deep, Deep, response_model_include={"item": {"name"}, "by": True})
model("exclude", deep, Deep, response_model_exclude={"item": {"tags"}, "items": {"__all__": {"name"}}})
model("excludelist", deep, Deep, response_model_exclude=["item"])
model("aliased", Aliased(first=1), Aliased)
model("unaliased", Aliased(first=1), Aliased, response_model_by_alias=False)
model("attributes", Plain(), Item)
model("attributesalias", Plain(), Aliased)
model("page", {"values": [secret, Plain()]}, Page[Item])
model("wrongpage", {"values": [1]}, Page[Item])
model("optional", None, Optional[Item])
model("notoptional", None, Item)
model("literal", "b", Literal["a", "b"])
model("int", "5", int)
model("bytes", b"x", bytes)
model("status", {"name": "n"}, Item, status_code=206)
model("class", {"name": "n"}, Item, response_class=HTMLResponse)
model("deepdefault", {"item": {"name": "x"}}, Deep, response_model_exclude_unset=True, response_model_exclude={"item": {"price"}})
@app.get("/model/annotated", response_model=None)
def annotated_none() -> Item: return secret
@app.get("/model/returned")
def annotated() -> Item: return secret
@app.get("/model/union3")
async def annotated_union() -> Item | None: return None
@app.get("/model/response")
def annotated_response() -> RedirectResponse: return RedirectResponse("/x")
@app.get("/model/cookies")
def cookies(response: Response):
    response.set_cookie("injected", "1", max_age=5)
    answer = JSONResponse({"a": 1}, headers={"x-own": "1"})
    answer.set_cookie("own", "2", secure=True, samesite="strict")
    answer.delete_cookie("gone")
    return answer
@app.get("/model/cookiesjson")
def cookies_json(response: Response):
    response.set_cookie("a", "1")
    response.delete_cookie("b")
    response.headers["x-a"] = "1"
    return {"a": 1}

# f. Annotated, enums, constraints, lists, defaults.
class Kind(str, enum.Enum):
    big = "B"
    small = "s"
Positive = Annotated[int, Query(gt=0, description="above zero")]
@app.get("/types/a/{kind}/{n}")
def types_a(kind: Kind, n: Annotated[int, Path(ge=1, le=9, multiple_of=3)], p: Positive, q: Positive = 3,
        k: list[Kind] = Query(default=[Kind.big]), o: Annotated[Optional[list[int]], Query(min_length=1, max_length=2)] = None,
        s: Annotated[str, Query(min_length=1, max_length=3, pattern="^a")] = "a", lit: Literal[1, 2, "x"] = 1,
        d: Annotated[str, Query(deprecated=True, alias="d-d")] = "d"): return [kind, n, p, q, k, o, s, lit, d]
@app.post("/types/b")
async def types_b(kinds: set[Kind], extra: Annotated[dict[int, float], Body()] = {1: 2.5},
        h: Annotated[list[int], Header()] = [1], c: Annotated[Kind, Cookie()] = Kind.small): return [sorted(kinds), extra, h, c]
"""
