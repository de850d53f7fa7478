"""An app as people write them: every way in which a background task comes about. Runs on any FastAPI since 0.95."""

import asyncio
import concurrent.futures
import functools
import multiprocessing
import os
import time

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteTasks
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, StreamingResponse

app = FastAPI()
router = APIRouter(prefix="/router")
mounted = FastAPI()
middled = FastAPI()
ran = []


def plain(*args):
    ran.append(("plain", args))


async def coro(*args):
    ran.append(("coro", args))


def raises(*args):
    raise ValueError("on purpose")


async def nap(seconds):
    await asyncio.sleep(seconds)


def hold(seconds):
    time.sleep(seconds)


class Callable:
    async def __call__(self):
        await asyncio.sleep(0)


class Twice(BackgroundTask):
    """Calls its function itself, and once more if it raises."""

    async def __call__(self):
        for left in (1, 0):
            try:
                return await self.func(*self.args, **self.kwargs)
            except ValueError:
                if not left:
                    raise


class Loud(BackgroundTask):
    async def __call__(self):
        ran.append(("loud", ()))
        await super().__call__()


class Stubborn(StarletteTasks):
    """Goes on when a task raises."""

    async def __call__(self):
        for task in self.tasks:
            try:
                await task()
            except ValueError:
                pass


SHARED = BackgroundTask(coro, "shared")


@app.get("/ran")
def get_ran():
    return ran


@app.get("/none")
def none():
    return {}


@app.get("/two")
def two(tasks: BackgroundTasks):
    tasks.add_task(plain, 1)
    tasks.add_task(coro, 2)
    return {}


@app.get("/five")
async def five(tasks: BackgroundTasks):
    for func in (plain, coro, raises, plain, coro):
        tasks.add_task(func)
    return {}


def adds(tasks: BackgroundTasks):
    tasks.add_task(plain, "dependency")


@app.get("/depends", dependencies=[Depends(adds)])
def depends(tasks: BackgroundTasks):
    tasks.add_task(coro)
    return {}


@app.get("/refuses", dependencies=[Depends(adds)])
def refuses():
    raise HTTPException(400)


@app.get("/breaks", dependencies=[Depends(adds)])
def breaks():
    raise ValueError("on purpose")


@app.get("/own", dependencies=[Depends(adds)])
def own():
    return JSONResponse({}, background=BackgroundTask(nap, 0.3))


@app.get("/response")
async def response():
    return JSONResponse(
        {}, background=StarletteTasks([BackgroundTask(plain), BackgroundTask(StarletteTasks([BackgroundTask(coro)]))])
    )


@app.get("/shared")
async def shared():
    return JSONResponse({}, background=SHARED)


@app.get("/kinds")
async def kinds(tasks: BackgroundTasks):
    tasks.add_task(functools.partial(coro, 1))
    tasks.add_task(Callable())
    tasks.add_task(lambda: None)
    return {}


@app.get("/twice")
async def twice():
    return JSONResponse({}, background=Twice(coro))


@app.get("/loud")
async def loud():
    return JSONResponse({}, background=Loud(plain))


@app.get("/stubborn")
async def stubborn():
    tasks = Stubborn()
    for func in (raises, plain):
        tasks.add_task(func)
    return JSONResponse({}, background=tasks)


@app.get("/by-hand")
async def by_hand():
    tasks = StarletteTasks()
    tasks.add_task(plain)
    await tasks()
    return {}


@app.get("/later")
async def later():
    tasks = StarletteTasks()
    tasks.add_task(plain, "later")
    asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(tasks()))
    return {}


@app.get("/adds-more")
async def adds_more(tasks: BackgroundTasks):
    def more():
        tasks.add_task(plain, "more")

    tasks.add_task(more)
    return {}


@app.get("/stream")
async def stream(tasks: BackgroundTasks):
    async def chunks():
        yield b"a"
        tasks.add_task(plain, "while it streams")
        yield b"b"

    tasks.add_task(coro)
    return StreamingResponse(chunks())


@app.get("/torn")
async def torn(tasks: BackgroundTasks):
    async def chunks():
        yield b"a"
        raise ValueError("on purpose")

    tasks.add_task(coro)
    return StreamingResponse(chunks())


@router.get("/two")
async def router_two(tasks: BackgroundTasks):
    tasks.add_task(plain)
    tasks.add_task(coro)
    return {}


@mounted.get("/two")
@middled.get("/two")
async def mounted_two(tasks: BackgroundTasks):
    tasks.add_task(plain)
    tasks.add_task(coro)
    return {}


@middled.get("/spawn")
async def middled_spawn():
    asyncio.create_task(nap(0.2))
    return {}


async def dispatch(request, call_next):
    answer = await call_next(request)
    answer.background = BackgroundTask(nap, 0)
    return answer


middled.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)


@app.get("/spawn")
async def spawn():
    await asyncio.gather(nap(0), nap(0.001))  # over before the answer: no work that can be lost
    asyncio.create_task(nap(0.2))
    asyncio.ensure_future(nap(0.2))
    asyncio.get_running_loop().create_task(nap(0.2))
    asyncio.create_task(aborts())
    return {}


async def aborts():
    await asyncio.sleep(0.01)
    raise ValueError("on purpose")


@app.get("/spawn-threadsafe")
def spawn_threadsafe():
    asyncio.run_coroutine_threadsafe(nap(0.2), app.state.loop)
    return {}


@app.get("/spawn-in-task")
async def spawn_in_task(tasks: BackgroundTasks):
    async def spawner():
        await asyncio.wait_for(nap(0.01), 5)
        asyncio.create_task(nap(0.2))

    tasks.add_task(spawner)
    return {}


@app.get("/cancel-spawned")
async def cancel_spawned():
    asyncio.create_task(nap(60)).cancel()
    task = asyncio.create_task(nap(60))
    asyncio.get_running_loop().call_later(0.05, task.cancel)
    return {}


@app.get("/spawn-for-long")
async def spawn_for_long():
    """Two that only a stop ends: one by the loop, the other by the app, which is told that it ends."""
    app.state.kept = [asyncio.create_task(nap(60)), asyncio.create_task(nap(60))]
    return {}


@app.get("/cancel-kept")
async def cancel_kept():
    """What `/spawn-for-long` keeps."""
    for task in app.state.kept:
        task.cancel()
    return {}


@app.get("/runs-the-loop")
async def runs_the_loop():
    """As code does that is called with a loop and without one: it tries, and does otherwise where that is refused."""
    loop = asyncio.get_running_loop()
    try:
        loop.run_until_complete(loop.create_future())
    except RuntimeError:
        return {}


@app.on_event("shutdown")
async def shutdown():
    for task in getattr(app.state, "kept", ())[:1]:
        task.cancel()


class Cancelled(Exception):
    """An order was."""


async def raises_cancelled():
    raise Cancelled("order 7")


def asks_a_cancelled_future():
    future = concurrent.futures.Future()
    future.cancel()
    future.result()


async def cancels_itself():
    asyncio.current_task().cancel()
    await asyncio.sleep(1)


@app.get("/ends-by/{name}")
async def ends_by(name: str, tasks: BackgroundTasks):
    tasks.add_task({each.__name__: each for each in (raises_cancelled, asks_a_cancelled_future, cancels_itself)}[name])
    tasks.add_task(plain)
    return {}


@app.on_event("startup")
async def startup():
    app.state.loop = asyncio.get_running_loop()


@app.get("/blocks")
async def blocks(seconds: float = 0.35):
    culprit(seconds)
    return {}


def culprit(seconds):
    time.sleep(seconds)


@app.get("/hold-from-loop")
async def hold_from_loop(tasks: BackgroundTasks, seconds: float = 60.0):
    """As `/hold`, but answered by the loop: the answer needs no token, whoever holds them."""
    tasks.add_task(hold, seconds)


@app.get("/hold")
def hold_some(tasks: BackgroundTasks, seconds: float = 60.0):
    tasks.add_task(hold, seconds)
    return {}


@app.get("/nap")
async def nap_some(tasks: BackgroundTasks, seconds: float = 60.0):
    tasks.add_task(nap, seconds)
    tasks.add_task(plain)
    return {}


def child_work():
    """In a child of the app's own that Python forked."""
    asyncio.run(BackgroundTask(plain)())


@app.get("/forks")
def forks_some(tasks: BackgroundTasks):
    tasks.add_task(forks)
    return {}


def forks():
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(BackgroundTask(plain)())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    child = multiprocessing.get_context("fork").Process(target=child_work)
    child.start()
    child.join()


@app.get("/names")
def names(tasks: BackgroundTasks):
    for number in range(200):

        def made():
            pass

        made.__qualname__ = f"made-{number}"
        tasks.add_task(made)
    return {}


@app.get("/many")
async def many(tasks: BackgroundTasks, number: int = 1000):
    for _ in range(number):
        tasks.add_task(coro)
    return {}


@app.websocket("/socket")
async def socket(socket: WebSocket, tasks: BackgroundTasks):
    tasks.add_task(plain)  # FastAPI takes it, and never runs it
    await socket.accept()
    await socket.close()


app.include_router(router)
app.mount("/mounted", mounted)
app.mount("/middled", middled)
