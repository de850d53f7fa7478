"""The app that is served twice: by the bundled server, and (with one import changed) by uvicorn as a plain FastAPI."""

SOURCE = """
import enum, functools, itertools, uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, Union
from FRAMEWORK import APIRouter, BackgroundTasks, Body, FastAPI, Header, HTTPException, Path, Query, Response
from fastapi.responses import JSONResponse
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, EmailStr, Field

app = FastAPI(title="Twin", description="ünï")

class Colour(str, enum.Enum):
    red = "red"
    green = "green"

class Size(enum.IntEnum):
    small = 1
    large = 2

@app.get("/")
def root(): return {"root": True}

@app.get("/int/{n}")
def p_int(n: int): return n
@app.get("/float/{n}")
def p_float(n: float): return {"n": str(n)}
@app.get("/bool/{n}")
def p_bool(n: bool): return n
@app.get("/str/{n}")
def p_str(n: str): return n
@app.get("/astr/{n}")
async def p_astr(n: str): return n
@app.get("/enum/{n}")
def p_enum(n: Colour): return n
@app.get("/uuid/{n}")
def p_uuid(n: uuid.UUID): return n
@app.get("/when/{n}")
def p_when(n: datetime): return n
@app.get("/two/{a}/and/{b}")
def p_two(a: int, b: str): return [a, b]
@app.get("/aliased/{item-id}")
def p_aliased(item: Annotated[int, Path(alias="item-id", ge=3)]): return item

@app.get("/q/int")
def q_int(n: int): return n
@app.get("/q/float")
def q_float(n: float = 0.5): return n
@app.get("/q/bool")
def q_bool(n: bool = False): return n
@app.get("/q/str")
def q_str(n: str): return n
@app.get("/q/strdef")
def q_strdef(n: str = "déf"): return n
@app.get("/q/opt")
def q_opt(n: Optional[int] = None): return {"n": n}
@app.get("/q/optstr")
def q_optstr(n: str | None = None): return {"n": n}
@app.get("/q/enum")
def q_enum(n: Colour = Colour.red, s: Size | None = None): return [n, s]
@app.get("/q/uuid")
def q_uuid(n: uuid.UUID): return n
@app.get("/q/when")
def q_when(n: datetime, d: date | None = None, t: timedelta = timedelta(seconds=5)): return [n, d, t]
@app.get("/q/dec")
def q_dec(n: Decimal): return n
@app.get("/q/lit")
def q_lit(n: Literal["a", "b"] = "a"): return n
@app.get("/q/limits")
def q_limits(a: Annotated[int, Query(ge=1, le=10)],
        b: Annotated[str, Query(min_length=2, max_length=4, pattern="^[a-zé]+$")] = "ab"):
    return [a, b]
@app.get("/q/alias")
def q_alias(n: Annotated[str, Query(alias="the-name")] = "none"): return n
_counter = itertools.count(100)
@app.get("/q/factory")
def q_factory(n: Annotated[int, Query(default_factory=lambda: next(_counter))]): return n
@app.get("/q/union")
def q_union(n: int | str): return [type(n).__name__, str(n)]
@app.get("/q/many")
def q_many(a: int, b: float, c: bool, d: str = "x", e: Optional[str] = None): return {"a": a, "b": b, "c": c, "d": d, "e": e}

@app.get("/h")
def h(x_token: Annotated[str | None, Header()] = None, n: Annotated[int, Header()] = 1,
        user_agent: Annotated[str | None, Header()] = None):
    return [x_token, n, user_agent]
@app.get("/h/req")
def h_req(x_token: Annotated[str, Header()]): return x_token
@app.get("/h/under")
def h_under(x_token: Annotated[str | None, Header(convert_underscores=False)] = None): return x_token
@app.get("/h/alias")
def h_alias(v: Annotated[str | None, Header(alias="X-Mixed-CASE")] = None): return v
@app.get("/h/op")
def h_op(x_op_id: Annotated[str, Header()] = "none"): return x_op_id

class User(BaseModel):
    email: EmailStr
    name: str = Field(min_length=1)
class Address(BaseModel):
    street: str
    no: int = 1
class Order(BaseModel):
    user: User
    to: list[Address] = []
    tags: set[str] = set()
    extra: dict[str, Any] | None = None
    when: datetime | None = None
    price: Decimal = Decimal("1.10")
    ratio: float = 1.0
    colour: Colour = Colour.red
    size: Size = Size.small
class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    n: int
    d: date | None = None
    u: uuid.UUID | None = None
    c: Colour | None = None
    t: tuple[int, ...] | None = None
    s: set[int] | None = None
    f: float | None = None
class Choice(BaseModel):
    v: Union[date, str, None] = None
    w: Union[uuid.UUID, str, None] = None
    x: Union[Colour, str, None] = None
    y: Union[datetime, float, str, None] = None
    z: Union[int, float, bool, str, None] = None
    b: Union[bytes, str, None] = None
    k: dict[int, str] | None = None
    t: timedelta | None = None
    tu: tuple[int, str] | None = None
    fs: frozenset[int] | None = None
    dec: Decimal | None = None
class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: Annotated[Any, BeforeValidator(lambda v: [type(v).__name__, str(v)])]
class Forbid(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item_name: str = Field(alias="itemName")

@app.post("/user")
def b_user(user: User): return {"message": f"User {user.name} registered", "email": user.email}
@app.post("/order")
def b_order(order: Order): return order
@app.post("/aorder", status_code=201)
async def b_aorder(order: Order) -> Order: return order
@app.post("/strict")
def b_strict(s: Strict): return repr(s)
@app.post("/choice")
def b_choice(c: Choice): return repr(c)
@app.post("/extra")
def b_extra(e: Extra): return e
@app.post("/forbid")
def b_forbid(f: Forbid): return f
@app.post("/dict")
def b_dict(d: dict): return {"d": repr(d)}
@app.post("/dictecho")
def b_dictecho(d: dict): return d
@app.post("/list")
def b_list(d: list[int]): return d
@app.post("/any")
def b_any(d: Annotated[Any, Body()]): return repr(d)
@app.post("/bodyint")
def b_int(d: Annotated[int, Body()]): return d
@app.post("/bodystr")
def b_str(d: Annotated[str, Body()]): return d
@app.post("/optional")
def b_opt(u: User | None = None): return {"u": u}
@app.put("/mix/{n}")
def b_mix(n: int, user: User, q: str = "q", x_h: Annotated[str | None, Header()] = None): return [n, user, q, x_h]
@app.get("/getbody")
def getbody(user: User): return user

@app.get("/r/list")
def r_list() -> list[int]: return [1, 2]
@app.get("/r/model", response_model=Address)
def r_model(): return {"street": "s", "no": "7", "secret": 1}
@app.get("/r/exclude", response_model=Order, response_model_exclude_unset=True)
def r_exclude(): return Order(user=User(email="a@example.org", name="n"))
@app.get("/r/exnone", response_model=Order, response_model_exclude_none=True)
def r_exnone(): return Order(user=User(email="a@example.org", name="n"))
@app.get("/r/include", response_model=User, response_model_include={"name"})
def r_include(): return User(email="a@example.org", name="n")
@app.get("/r/alias", response_model=Forbid)
def r_alias(): return Forbid(itemName="x")
@app.get("/r/noalias", response_model=Forbid, response_model_by_alias=False)
def r_noalias(): return Forbid(itemName="x")
@app.get("/r/bad", response_model=Address)
def r_bad(): return {"no": 1}
@app.get("/r/none")
def r_none(): return None
@app.get("/r/nonemodel")
def r_nonemodel() -> None: return None
@app.get("/r/unicode")
def r_unicode(): return {"ä": "€ \\U0001F600 \\u2028 \\x7f \\" \\\\ / <>&", "ctl": "\\x00\\x01\\x1f\\b\\f\\n\\r\\t"}
@app.get("/r/big")
def r_big(): return [2**63, -2**63, 2**64, 10**40, True, None, "", [], {}]
@app.get("/r/float")
def r_float(): return [0.1, 1e100, 1e16, 1e-7, 5.0, -0.0, 123456789012345680.0, 1.5e300]
@app.get("/r/nan")
def r_nan(): return float("nan")
@app.get("/r/surrogate")
def r_surrogate(): return {"s": "\\ud800"}
@app.get("/r/types")
def r_types(): return {"d": date(2020, 1, 2), "u": uuid.UUID(int=5), "dec": Decimal("1.50"), "t": (1, 2),
        "s": {3}, "b": b"bytes", "e": Colour.red, "td": timedelta(days=1)}
@app.get("/r/keys")
def r_keys(): return {1: "a", None: "b", True: "c", 1.5: "d", Colour.red: "e"}
@app.get("/r/sa")
def r_sa(): return {"_sand": 1, "_sa_instance_state": 2, "normal": {"_save": 3}}
@app.get("/r/deep")
def r_deep():
    value = []
    for _ in range(100):
        value = [value]
    return value
@app.get("/r/object")
def r_object(): return object()
@app.get("/r/loop")
def r_loop():
    value = []
    value.append(value)
    return value
@app.get("/r/json")
def r_json(): return JSONResponse({"j": "ü"}, status_code=418, headers={"X-Tea": "pot", "x-two": "2"})
@app.get("/r/response")
def r_response(): return Response("pläin", media_type="text/plain", headers={"x-a": "1"})
@app.get("/r/nomedia")
def r_nomedia(): return Response(b"\\x00\\xff", status_code=206)
@app.get("/r/cookie")
def r_cookie():
    r = Response(b"c")
    r.set_cookie("a", "1")
    r.set_cookie("b", "2", httponly=True)
    return r
@app.get("/r/annotated")
def r_annotated() -> Response: return Response(b"x", media_type="application/xml")
@app.get("/r/204", status_code=204)
def r_204(): return None
@app.get("/r/204value", status_code=204)
def r_204value(): return {"x": 1}
@app.get("/r/304", status_code=304)
def r_304(): return None
@app.get("/r/205", status_code=205)
def r_205(): return None
@app.post("/r/201", status_code=201)
def r_201(): return {"created": True}
@app.get("/r/202tasks", status_code=202)
def r_202(background_tasks: BackgroundTasks):
    background_tasks.add_task(int)
    return {"accepted": True}

@app.get("/e/404")
def e_404(): raise HTTPException(404, "no such thing")
@app.get("/e/detail")
def e_detail(): raise HTTPException(409, detail={"why": ["ü", 1, None]},
    headers={"X-Why": "because", "WWW-Authenticate": "Bearer"})
@app.get("/e/204")
def e_204(): raise HTTPException(204)
@app.get("/e/304")
def e_304(): raise HTTPException(304, headers={"etag": "x"})
@app.get("/e/plain")
def e_plain(): raise RuntimeError("boom")
@app.get("/e/aplain")
async def e_aplain(): raise RuntimeError("boom")
@app.get("/e/async")
async def e_async(): raise HTTPException(403)
@app.get("/e/rve")
def e_rve(): raise RequestValidationError([{"type": "x", "loc": ("body",), "msg": "m", "input": 1}])
@app.get("/e/int")
def e_int(): raise HTTPException(status_code=400, detail=17)

# Methods and overlaps.
@app.get("/m/items")
def m_get(): return "get"
@app.post("/m/items")
def m_post(): return "post"
@app.delete("/m/items/{n}")
def m_delete(n: int): return n
@app.patch("/m/items/{n}")
def m_patch(n: int): return n
@app.api_route("/m/both", methods=["GET", "PUT"])
def m_both(): return "both"
@app.head("/m/head")
def m_head(): return Response(headers={"x-head": "1"})
@app.options("/m/options")
def m_options(): return "options"
@app.get("/o/{name}")
def o_first(name: str): return {"param": name}
@app.get("/o/latest")
def o_latest(): return "never reached"
@app.post("/o/latest")
def o_post(): return "post latest"
@app.get("/f/latest")
def f_latest(): return "latest"
@app.get("/f/{name}")
def f_param(name: str): return {"param": name}
@app.get("/slash/")
def slash(): return "with slash"
@app.get("/noslash")
def noslash(): return "without"
@app.get("/s/{a}/")
def s_param(a: str): return a
@app.get("/sp ace/ü")
def spaced(): return "spaced"
@app.get("/caf\\u00e9/{n}")
def cafe(n: str): return n

def _partial(prefix: str, n: int): return [prefix, n]
app.get("/c/partial")(functools.partial(_partial, "p"))
class Callable_:
    def __call__(self, n: int): return ["object", n]
app.get("/c/object")(Callable_())
class AsyncCallable_:
    async def __call__(self, n: int): return ["aobject", n]
app.get("/c/aobject")(AsyncCallable_())

router = APIRouter(prefix="/router", tags=["t"])
@router.get("/items/{n}")
def router_item(n: int, q: str | None = None): return [n, q]
app.include_router(router)
app.include_router(router, prefix="/again")

@app.get("/deprecated", deprecated=True, include_in_schema=False)
def deprecated(): return 1
"""
