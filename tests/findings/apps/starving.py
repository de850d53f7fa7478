"""A def endpoint whose tasks take threads from the same pool that it needs itself."""

from __future__ import annotations

import time

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()


@app.post("/orders")
def order(tasks: BackgroundTasks) -> dict[str, bool]:
    tasks.add_task(deliver)
    return {"accepted": True}


def deliver() -> None:
    # Quick at first, so that there is something to compare with.
    time.sleep(0.02 if time.monotonic() < _SLOW_FROM_S else 0.3)


_SLOW_FROM_S = time.monotonic() + 4.0
