"""What the server's own OpenAPI allows, and what it does not: schemathesis asks, and holds every answer against the document."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from harness.rows import Gauge

from .conftest import Serve
from .helpers import AppServer, until

APP = """
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Cookie, Depends, File, Form, Header, Path, Query, Response, UploadFile, status
from pydantic import BaseModel, Field
from server import *

app = FastAPI()

class Colour(str, Enum):
    red = "red"
    green = "green"

class Part(BaseModel):
    name: str = Field(min_length=1, max_length=20)
    weight: float = Field(gt=0, lt=1000)

class Item(BaseModel):
    name: str
    colour: Colour = Colour.red
    parts: list[Part] = Field(default=[], max_length=3)
    tags: dict[str, int] = {}
    made: datetime | None = None
    kind: Literal["a", "b"] = "a"
    price: Decimal | None = Field(default=None, max_digits=5, decimal_places=2)

class Stored(Item):
    id: int

class Cat(BaseModel):
    pet: Literal["cat"]
    lives: int

class Dog(BaseModel):
    pet: Literal["dog"]
    barks: bool

class Filter(BaseModel):
    limit: int = Field(100, gt=0, le=100)
    order: Literal["name", "made"] = "made"
    tags: list[str] = []

def note(): pass

def paging(skip: int = Query(0, ge=0), limit: Annotated[int, Query(le=100)] = 10):
    return skip, limit

async def caller(x_token: Annotated[str | None, Header(max_length=10)] = None, session: str | None = Cookie(None)):
    return x_token or session

@app.get("/items/{item_id}", response_model=Stored)
def read(item_id: Annotated[int, Path(ge=0, le=1000)], colour: Colour = Colour.red, q: str | None = Query(None, max_length=5)):
    return {"id": item_id, "name": q or "", "colour": colour, "more": "is left out"}

@app.put("/items/{item_id}", status_code=202)
async def write(item_id: UUID, item: Item, background_tasks: BackgroundTasks) -> Item:
    background_tasks.add_task(note)
    return item

@app.post("/items", status_code=status.HTTP_201_CREATED, response_model=Stored, response_model_exclude_none=True)
def create(item: Item, background_tasks: BackgroundTasks, by=Depends(caller)):
    background_tasks.add_task(note)
    return {**item.model_dump(), "id": 1}

@app.post("/pairs")
def pairs(first: Item, second: Annotated[Part, Body()], times: Annotated[int, Body(ge=1)] = 1) -> list[str]:
    return [first.name, second.name] * min(times, 3)

@app.post("/pets")
async def pets(pet: Annotated[Cat | Dog, Body(discriminator="pet")]) -> dict[str, str]:
    return {"pet": pet.pet}

@app.get("/list")
async def lists(days: Annotated[list[date], Query()] = [], at=Depends(paging), when: timedelta | None = None) -> list[date]:
    return days[:3]

@app.get("/filter")
def filtered(by: Annotated[Filter, Query()]) -> Filter:
    return by

@app.get("/headers")
def headers(x_numbers: Annotated[list[int] | None, Header()] = None, flag: bool = False) -> dict[str, bool]:
    return {"flag": flag}

@app.delete("/items/{item_id}", status_code=204)
def remove(item_id: int, response: Response, background_tasks: BackgroundTasks) -> None:
    background_tasks.add_task(note)

@app.post("/form")
def form(name: Annotated[str, Form(min_length=2)], age: int = Form(0)) -> dict[str, int]:
    return {name[:5]: age}

@app.post("/upload")
async def upload(file: UploadFile, note: str = Form("")) -> int:
    return len(await file.read())
"""
WHOLE_APP = (
    APP
    + """
class Through:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send): await self.app(scope, receive, send)
app.add_middleware(Through)
"""
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 8


@pytest.fixture(scope="module", params=["straight", "general"])
def server(shared: Serve, request: pytest.FixtureRequest) -> Iterator[AppServer]:
    """One in which all routes but forms go straight, and one in which none does."""
    server = shared(APP if request.param == "straight" else WHOLE_APP)
    yield server
    ended = [Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED]
    until(lambda: sum(map(server.gauge, ended)) == server.gauge(Gauge.ACCEPTED), "every task has ended")
    assert server.gauge(Gauge.FAILED) == 0
    assert server.process.poll() is None
    assert "Traceback" not in server.stderr()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
def test_answers_are_what_the_document_says(server: AppServer, mode: GenerationMode):
    """No 500, no status, media type or body that is not in it, for requests that conform and for those that do not."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            answer = case.call()
            if answer.status_code == 400:
                # What is no JSON at all, or no form: FastAPI's answer and Starlette's, which the document keeps to itself.
                assert answer.json()["detail"] in {"There was an error parsing the body", "Invalid multipart data."}
            else:
                case.validate_response(answer, checks=CHECKS)

        ask()
    assert asked > 10 * EXAMPLES / 2
    # Requests that do not conform may all be refused before there is a task.
    assert mode is GenerationMode.NEGATIVE or server.gauge(Gauge.ACCEPTED) > 0
