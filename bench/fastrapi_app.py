"""The published fastrapi, as far as it works: the same endpoint without its task. `python -m bench.fastrapi_app HOST PORT`.

Its `BackgroundTasks` cannot be injected (422 "Missing required parameter"), its `add_task` takes no arguments, and `async def`
endpoints fail under load. So it is shown at its best: a `def` endpoint that validates the model and answers.
"""

import sys
from typing import Any

from fastrapi import FastrAPI  # type: ignore[import-not-found]
from pydantic import BaseModel, EmailStr

app = FastrAPI()


class EmailUser(BaseModel):
    email: EmailStr
    name: str


class StrUser(BaseModel):
    email: str
    name: str


@app.post("/email/def/none")  # type: ignore[untyped-decorator]
def email_def_none(user: EmailUser) -> Any:
    return {"message": "queued", "name": user.name}


@app.post("/str/def/none")  # type: ignore[untyped-decorator]
def str_def_none(user: StrUser) -> Any:
    return {"message": "queued", "name": user.name}


@app.get("/finished")  # type: ignore[untyped-decorator]
def finished() -> Any:
    """It has no tasks; the bench asks every server."""
    return {"finished": 0}


if __name__ == "__main__":
    app.serve(sys.argv[1], int(sys.argv[2]))
