"""A second app that is served twice: what apps have beside simple parameters and one JSON body."""

SOURCE = """
import asyncio, contextvars, functools, itertools, threading
from typing import Annotated, Any, Optional, Union
from FRAMEWORK import (APIRouter, BackgroundTasks, Body, Cookie, Depends, FastAPI, Header, HTTPException, Path, Query, Request,
    Response, Security)
from fastapi import security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.security import SecurityScopes
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, Json
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import HTTPConnection

app = FastAPI()
calls = []

@app.get("/calls")
def take_calls():
    taken = list(calls)
    calls.clear()
    return taken

# a. Cookies, lists, aliases, models of parameters.
@app.get("/cookie")
def cookie(a: Annotated[str, Cookie()], b: Annotated[int | None, Cookie()] = None,
        c: Annotated[str, Cookie(alias="the-c")] = "none"): return [a, b, c]
@app.get("/acookie")
async def acookie(a: Annotated[str | None, Cookie()] = None): return a
@app.get("/cookies")
def cookies(a: Annotated[list[str] | None, Cookie()] = None): return a
@app.get("/list")
def many(n: Annotated[list[int], Query()]): return n
@app.get("/listdef")
def many_default(n: Annotated[list[str], Query()] = ["x", "y"]):
    n.append("changed")
    return n
@app.get("/listopt")
def many_optional(n: Annotated[list[int] | None, Query(max_length=3)] = None): return n
@app.get("/set")
def many_set(n: Annotated[set[int], Query()] = set()): return sorted(n)
@app.get("/tuple")
def many_tuple(n: Annotated[tuple[int, str] | None, Query()] = None): return n
@app.get("/hlist")
def many_headers(x_many: Annotated[list[str] | None, Header()] = None): return x_many
@app.get("/choices")
def choices(n: Annotated[int, Query(validation_alias=AliasChoices("one", "two", "three"))] = 0): return n
@app.get("/hchoices")
def header_choices(n: Annotated[str | None, Header(validation_alias=AliasChoices("X-One", "x_two"))] = None): return n
@app.get("/validation")
def validation_alias(n: Annotated[int, Query(alias="shown", validation_alias="read")] = 0): return n
@app.get("/json")
def as_json(n: Annotated[Json[list[int]], Query()] = [7]): return n
class Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(10, gt=0, le=100)
    order_by: str = "created"
    tags: list[str] = []
@app.get("/qmodel")
def query_model(f: Annotated[Filter, Query()]): return f
@app.get("/qmodelopt")
def query_model_optional(f: Annotated[Filter | None, Query()] = None): return f
class Extras(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1
@app.get("/qextra")
async def query_extras(f: Annotated[Extras, Query()]): return f
class Heads(BaseModel):
    x_token: str
    save_data: bool = False
    x_tag: list[str] = []
@app.get("/hmodel")
def header_model(h: Annotated[Heads, Header()]): return h
class Jar(BaseModel):
    session: str
    fat: int | None = None
@app.get("/cmodel")
def cookie_model(c: Annotated[Jar, Cookie()]): return c

# b. Bodies in parts.
class Item(BaseModel):
    name: str
    price: float = 1.5
class Account(BaseModel):
    login: str
@app.put("/embed")
def embed(item: Annotated[Item, Body(embed=True)]): return item
@app.put("/embedopt")
def embed_optional(item: Annotated[Item | None, Body(embed=True)] = None): return {"item": item}
@app.put("/two")
def two(item: Item, account: Account): return [item, account]
@app.put("/atwo")
async def atwo(item: Item, account: Account | None = None, n: Annotated[int, Body(gt=2)] = 5): return [item, account, n]
@app.put("/scalars")
def scalars(a: Annotated[int, Body()], b: Annotated[str, Body(alias="the-b")] = "b"): return [a, b]
@app.put("/defaults")
def defaults(a: Annotated[int, Body()] = 1, b: Annotated[list[int], Body()] = []):
    b.append(a)
    return b
@app.put("/choicesbody")
def choices_body(a: Annotated[int, Body(validation_alias=AliasChoices("x", "y"))], b: Annotated[int, Body()] = 1): return [a, b]
@app.put("/optional")
def optional(item: Item | None = None): return {"item": item}
@app.put("/optionaldef")
def optional_default(item: Item = Item(name="default")): return item
@app.put("/items")
def items(items: list[Item]): return items
class Written(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)
    text: str = ""
    number: float = 0.5
@app.put("/written")
def written(value: Written): return [value.text, repr(value.number)]
@app.put("/numbers")
def numbers_of(values: list[float]): return list(map(repr, values))
@app.put("/any")
def anything(value: Any = Body(None)): return {"value": repr(value)}
@app.put("/dict")
def plain_dict(value: dict[str, int]): return value
@app.put("/union")
def union(value: Union[Item, Account]): return [type(value).__name__, value]
lenient = APIRouter(strict_content_type=False)
@lenient.put("/lenient")
def lenient_body(item: Item): return item
@lenient.put("/lenientany")
def lenient_any(value: Annotated[Any, Body()]): return repr(value)
app.include_router(lenient)

# c. Dependencies.
def note(name): calls.append(name)
async def note_task(name): calls.append(name)  # In plain FastAPI it has run before the next request is read.
def d_page(skip: int = 0, limit: Annotated[int, Query(le=100)] = 10):
    note("page")
    return {"skip": skip, "limit": limit}
async def d_user(x_user: Annotated[str | None, Header()] = None):
    note("user")
    if x_user == "bad":
        raise HTTPException(401, "bad user", {"WWW-Authenticate": "x"})
    return x_user
def d_nested(page=Depends(d_page), q: str = "q"):
    note("nested")
    return [page, q]
class Pager:
    def __init__(self, size: int = 5, page: Annotated[dict, Depends(d_page)] = None):
        note("Pager")
        self.size, self.page = size, page
class Checker:
    def __init__(self, allowed): self.allowed = allowed
    def __call__(self, n: int = 1):
        note(f"Checker {self.allowed}")
        if n > self.allowed: raise HTTPException(403, f"more than {self.allowed}")
        return n
class AChecker(Checker):
    async def __call__(self, n: int = 1): return super().__call__(n)
def d_partial(prefix, n: int = 1):
    note(f"partial {prefix}")
    return [prefix, n]
def d_raises(n: int = 0):
    note("raises")
    if n == 1: raise ValueError("a dependency raised")
    if n == 2: raise StopIteration("odd")
    return n
numbers = itertools.count()
def d_number():
    note("number")
    return next(numbers) * 0 + len(calls)

@app.get("/dep")
def dep(page: Annotated[dict, Depends(d_page)]): return page
@app.get("/adep")
async def adep(user: Annotated[str | None, Depends(d_user)]): return user
@app.get("/mixed")
def mixed(user: Annotated[str | None, Depends(d_user)], page=Depends(d_page)): return [user, page, take_calls()]
@app.get("/amixed")
async def amixed(page=Depends(d_page), user=Depends(d_user), nested=Depends(d_nested)): return [page, user, nested, take_calls()]
@app.get("/nested")
def nested(nested=Depends(d_nested), page=Depends(d_page), again=Depends(d_nested)):
    return [nested, page is nested[0], again is nested, take_calls()]
@app.get("/nocache")
def nocache(a=Depends(d_number), b=Depends(d_number, use_cache=False), c=Depends(d_number)): return [a, b, c, take_calls()]
@app.get("/nocachefirst")
def nocache_first(b=Depends(d_number, use_cache=False), a=Depends(d_number), c=Depends(d_nested, use_cache=False)):
    return [a, b, c, take_calls()]
@app.get("/class")
def of_class(pager: Annotated[Pager, Depends()], other: Pager = Depends(Pager, use_cache=False)):
    return [pager.size, pager.page, other is pager, take_calls()]
@app.get("/checker")
def checker(n: Annotated[int, Depends(Checker(3))], other=Depends(AChecker(5))): return [n, other]
@app.get("/checkers")
def checkers(n: Annotated[int, Depends(Checker(3))], m=Depends(Checker(4))): return [n, m, take_calls()]
@app.get("/partial")
def partial(p=Depends(functools.partial(d_partial, "p"))): return p
@app.get("/raises")
def raises(p=Depends(d_page), n=Depends(d_raises), q: int = 0): return [n, q]
@app.get("/araises")
async def araises(p=Depends(d_page), n=Depends(d_raises), q: int = 0): return [n, q]
@app.get("/decorated/{n}", dependencies=[Depends(d_page), Depends(d_user)])
def decorated(n: int): return [n, take_calls()]
guarded = APIRouter(prefix="/guarded", dependencies=[Depends(Checker(2))])
@guarded.get("/one", dependencies=[Depends(d_page)])
async def guarded_one(page=Depends(d_page)): return [page, take_calls()]
app.include_router(guarded, dependencies=[Depends(d_user)])
def d_body(item: Item):
    note("body")
    return item.name
@app.put("/depbody")
def dep_body(name=Depends(d_body)): return name
@app.put("/depbodytwice")
def dep_body_twice(item: Item, name=Depends(d_body)): return [item, name, take_calls()]
@app.put("/depbodies")
def dep_bodies(account: Account, name=Depends(d_body)): return [account, name]
def d_def_tasks(tasks: BackgroundTasks): tasks.add_task(note_task, "task of the def dependency")
@app.get("/deptasks")
def dep_tasks(background_tasks: BackgroundTasks, n=Depends(d_def_tasks)):
    background_tasks.add_task(note_task, "task")
    return 1
async def d_tasks(background_tasks: BackgroundTasks):
    background_tasks.add_task(note_task, "task of the dependency")
@app.get("/tasks")
async def with_tasks(background_tasks: BackgroundTasks, n=Depends(d_tasks), m=Depends(d_def_tasks)):
    background_tasks.add_task(note_task, "task of the endpoint")
    return 1
@app.get("/onlydeptasks")
async def only_dep_tasks(n=Depends(d_tasks)): return 1
color = contextvars.ContextVar("color", default="none")
async def d_async_color(): color.set("async")
def d_color():
    color.set("def")
    return color.get()
@app.get("/contexts")
async def contexts(a=Depends(d_async_color), b=Depends(d_color)): return [color.get(), b]
@app.get("/defcontexts")
def def_contexts(b=Depends(d_color)): return [color.get(), b]
@app.get("/mixedcontexts")
def mixed_contexts(a=Depends(d_async_color), b=Depends(d_color)): return [color.get(), b]
@app.get("/offloop")
async def off_loop(t=Depends(threading.current_thread)): return t is threading.current_thread()
async def d_waits(n: int = 0):
    await asyncio.sleep(0.001 * n)
    return n
@app.get("/waits")
async def waits(n=Depends(d_waits), page=Depends(d_page)): return [n, page]
def d_override(): return "original"
@app.get("/override")
def override(value=Depends(d_override)): return value
@app.post("/override/{on}")
def set_override(on: bool):
    app.dependency_overrides = {d_override: lambda n: f"overridden {n}", d_page: lambda: "page"} if on else {}

# c. Security.
scheme = security.OAuth2PasswordBearer(tokenUrl="token", scopes={"a": "A", "b": "B"})
async def d_current(scopes: SecurityScopes, token: Annotated[str, Depends(scheme)]):
    note(f"current {scopes.scope_str}")
    if token == "no": raise HTTPException(401, f"scopes {scopes.scope_str}")
    return [token, scopes.scopes]
def d_active(user: Annotated[list, Security(d_current, scopes=["a"])]): return user
def d_sync(token: Annotated[str, Depends(scheme)], request: Request): return [token, request.url.path]
@app.get("/me")
async def me(user: Annotated[list, Security(d_active, scopes=["b"])], token=Depends(d_current)):
    return [user, token, take_calls()]
@app.get("/bearer")
def bearer(user=Depends(d_sync)): return user
@app.get("/httpbearer")
def http_bearer(c: Annotated[security.HTTPAuthorizationCredentials, Depends(security.HTTPBearer())]): return c
@app.get("/basic")
def basic(c: Annotated[security.HTTPBasicCredentials, Depends(security.HTTPBasic())]): return c
@app.get("/keys")
def keys(a=Depends(security.APIKeyHeader(name="X-Key", auto_error=False)),
        b=Depends(security.APIKeyQuery(name="key", auto_error=False)),
        c=Depends(security.APIKeyCookie(name="key", auto_error=False))): return [a, b, c]
@app.get("/key")
async def key(a=Security(security.APIKeyHeader(name="X-Key"))): return a
class MyScheme(security.APIKeyHeader):
    async def __call__(self, request: Request):
        await asyncio.sleep(0)
        return await super().__call__(request)
@app.get("/myscheme")
def my_scheme(a=Depends(MyScheme(name="X-Key"))): return a

# d. Request and Response.
def d_response(response: Response, n: int = 0):
    response.headers["X-Dep"] = str(n)
    response.set_cookie("dep", "1")
    if n == 5: response.status_code = 418
    if n == 6: response.status_code = 204
@app.get("/response", status_code=202)
def with_response(response: Response, d=Depends(d_response), m: int = 0):
    response.headers["x-end"] = "ü" if m == 1 else "1"
    if m == 2: response.status_code = 299
    if m == 3: return JSONResponse({"own": True})
    if m == 4: raise HTTPException(409, "dropped")
    return {"m": m}
@app.get("/aresponse")
async def with_aresponse(response: Response) -> Item:
    response.headers["x-a"] = "1"
    response.headers.append("x-a", "2")
    return Item(name="n")
@app.get("/request/{a}/{b}")
def with_request(request: Request, a: int, b: str):
    return [request.method, request.url.path, request.path_params, dict(request.query_params), request.headers.get("x-h"),
        request.cookies, request.app is app, request.scope["type"],
        str(request.url_for("with_request", a="1", b="2")).split("/", 3)[3],
        request.scope["route"].path, request.scope["root_path"], request.scope["http_version"], request.scope["scheme"]]
@app.get("/client")
def client(request: Request):
    return [request.url.scheme, request.client.host,
        request.client.host == "127.0.0.1" or request.client.port, str(request.base_url)]
@app.post("/requestbody")
async def request_body(request: Request): return [(await request.body()).decode(), (await request.body()).decode()]
@app.post("/requestjson")
async def request_json(request: Request): return await request.json()
@app.post("/requeststream")
async def request_stream(request: Request): return b"".join([part async for part in request.stream()]).decode()
@app.post("/requestboth")
async def request_both(request: Request, item: Item):
    return [item, (await request.body()).decode(), b"".join([part async for part in request.stream()]).decode(),
        await request.is_disconnected()]
@app.post("/requestgone")
async def request_gone(request: Request): return [(await request.body()).decode(), await request.is_disconnected()]
async def d_state(request: Request): request.state.user = "u"
@app.get("/state")
async def state(request: Request, connection: HTTPConnection, d=Depends(d_state)):
    return [request.state.user, connection.state.user]
@app.get("/connection")
async def connection(connection: HTTPConnection): return [connection.url.path, connection["type"]]

# e. Response classes.
@app.get("/html", response_class=HTMLResponse)
def html(): return "<p>ü</p>"
@app.get("/ahtml", response_class=HTMLResponse, status_code=203)
async def ahtml(): return "<p>"
@app.get("/plain", response_class=PlainTextResponse)
def plain(n: int = 0): return "text" if n == 0 else 5
@app.get("/redirect", response_class=RedirectResponse)
def redirect(): return "/some where/ü?x=1"
@app.get("/redirect302", response_class=RedirectResponse, status_code=302)
def redirect302(): return "/x"
@app.get("/returnedredirect")
def returned_redirect(): return RedirectResponse("/x", 303)
@app.get("/ownjson", response_class=JSONResponse)
def own_json() -> dict[str, float]: return {"a": 1e16, "b": 1e-7}
@app.get("/ownjsonplain", response_class=JSONResponse)
def own_json_plain(): return {"a": 1e16, "b": "ü"}
class Pretty(JSONResponse):
    media_type = "application/x-pretty"
    def render(self, content): return repr(content).encode()
@app.get("/pretty", response_class=Pretty, response_model=Item)
def pretty(): return {"name": "n", "secret": 1}
@app.get("/prettyplain", response_class=Pretty)
async def pretty_plain(response: Response):
    response.headers["x-p"] = "1"
    return {"s": {1}}
@app.get("/prettybad", response_class=Pretty, response_model=Item)
def pretty_bad(): return {"secret": 1}
@app.get("/html204", response_class=HTMLResponse, status_code=204)
def html204(): return "body"
@app.get("/bare", response_class=Response)
def bare(): return "text"
@app.get("/responses", responses={404: {"model": Item}})
def responses(n: int = 0): return JSONResponse({"x": 1}, 404) if n else {"x": 2}
classy = APIRouter(default_response_class=PlainTextResponse)
@classy.get("/classy")
def classy_text(): return "text"
@classy.get("/classyitem")
def classy_item() -> Item: return Item(name="n")
app.include_router(classy)

# f. Exceptions with handlers of the app.
class Mine(Exception): pass
class Child(Mine): pass
class Unseen(Exception): pass
@app.exception_handler(Mine)
def on_mine(request: Request, error: Mine): return JSONResponse({"mine": str(error), "path": request.url.path}, 460)
@app.exception_handler(LookupError)
async def on_lookup(request: Request, error: LookupError): return PlainTextResponse(f"lookup {error!r}", 461, {"x-l": "1"})
@app.exception_handler(418)
async def on_418(request: Request, error: Exception): return PlainTextResponse(f"teapot {error.detail}", 418)
@app.get("/raise/{what}")
def raise_it(what: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(note_task, "never")
    raise {"mine": Mine("m"), "child": Child("c"), "key": KeyError("k"), "teapot": HTTPException(418, "t"),
        "starlette": StarletteHTTPException(404), "starlette418": StarletteHTTPException(418), "unseen": Unseen("u"),
        "404": HTTPException(404, {"a": 1}), "500": HTTPException(500, "h"), "204": HTTPException(204)}[what]
@app.get("/araise/{what}")
async def araise_it(what: str, n: int = 0): raise_it(what, BackgroundTasks() if n else None)
@app.get("/depraise/{what}")
async def dep_raise(what: str, n=Depends(araise_it)): return 1
"""
