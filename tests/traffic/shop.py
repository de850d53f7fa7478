"""An app as anybody could have written it, with most of what a schema can say. Nothing in it knows of afterload."""

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

from fastapi import BackgroundTasks, FastAPI, Form, Header, HTTPException, Path, Query, Response, UploadFile
from pydantic import BaseModel, EmailStr, Field, HttpUrl

app = FastAPI()
seen: set[object] = set()
written: list[object] = []


class Kind(Enum):
    SMALL = "small"
    LARGE = "large"


class Line(BaseModel):
    sku: str
    count: Annotated[int, Field(gt=0, lt=100)]
    discount: Annotated[float, Field(ge=0, le=1)] = 0.0


class Card(BaseModel):
    type: Literal["card"]
    number: Annotated[str, Field(pattern=r"^[0-9]{16}$")]


class Transfer(BaseModel):
    type: Literal["transfer"]
    account: Annotated[str, Field(min_length=5, max_length=12)]


class Order(BaseModel):
    id: UUID
    number: int
    email: EmailStr
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{2}$")]
    kind: Kind
    lines: Annotated[list[Line], Field(min_length=1)]
    pay: Annotated[Card | Transfer, Field(discriminator="type")]
    total: Annotated[Decimal, Field(gt=0)]
    at: datetime
    day: date
    site: HttpUrl
    short: Annotated[str, Field(max_length=2)]
    note: str | None = None
    tags: dict[str, str] = {}


class Tree(BaseModel):
    model_config = {"extra": "forbid"}
    name: Annotated[str, Field(min_length=3)]
    children: list["Tree"] = []


def once(value: object) -> None:
    if value in seen:
        raise HTTPException(409, f"{value} is there already")
    seen.add(value)


@app.post("/orders", status_code=201)
def order(order: Order, tasks: BackgroundTasks) -> dict:
    for value in (order.id, order.number, order.email):
        once(value)
    tasks.add_task(written.append, order.id)
    return {}


@app.put("/users/{user_id}")
def user(user_id: str, q: Annotated[str, Query(min_length=3)], x_trace: Annotated[str | None, Header()] = None) -> dict:
    once(user_id)
    return {}


@app.get("/items/{item_id}")
def item(item_id: Annotated[int, Path(ge=1, le=50)], verbose: bool = False, tag: Annotated[list[str], Query()] = []) -> dict:  # noqa: B006
    return {}


@app.post("/trees")
def tree(tree: Tree) -> dict:
    return {}


@app.post("/form")
def form(name: Annotated[str, Form()], age: Annotated[int, Form(ge=18)]) -> dict:
    return {}


@app.post("/upload")
def upload(file: UploadFile) -> dict:
    return {}


@app.get("/health")
def health() -> Response:
    return Response(status_code=204)


@app.delete("/orders/{order_id}")
def delete(order_id: UUID) -> dict:
    raise RuntimeError("nobody asked for this")
