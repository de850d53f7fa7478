"""`python -m server module:app`: serves an app from the command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import click
from fastapi import FastAPI

from server._config import WAYS, ServerConfig
from server._errors import CannotServe
from server._foreign import as_app
from server._process import prepare
from server._routes import UnsupportedRoute
from server._supervisor import supervise
from server._worker import Worker


def load(target: str, *, factory: bool, app_dir: str = ".") -> FastAPI:
    """The app that `module:attribute` names. Raises click.UsageError saying what is missing.

    The module is looked for in `app_dir` first; "" looks nowhere but on the Python path.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        msg = f"{target!r} names no app: give it as module:attribute, e.g., main:app"
        raise click.UsageError(msg)
    if app_dir:
        sys.path.insert(0, str(Path(app_dir).resolve()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise
        msg = f"there is no module {module_name!r} in {Path(app_dir).resolve()} or on the Python path"
        raise click.UsageError(msg) from None
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    app = found() if factory and callable(found) else found
    try:
        return as_app(app)
    except TypeError as error:
        msg = f"{target} is {error}"
        raise click.UsageError(msg) from None


@click.command(context_settings={"show_default": True})
@click.argument("target", metavar="MODULE:APP")
@click.option("--factory", is_flag=True, help="APP is a function that makes the app.")
@click.option("--app-dir", default=".", help="Where to look for MODULE first; '' for nowhere but the Python path.")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=8080, help="Port to listen on; 0 takes any free one.")
@click.option("--admin-port", type=int, help="Port of 127.0.0.1 for metrics and health; 0: any free one.  [default: none]")
@click.option("--workers", default=1, help="Processes that answer on the port; one that dies is started again.")
@click.option("--pool", default=40, help="Threads for def tasks.")
@click.option("--endpoint-threads", default=40, help="At most this many threads for def endpoints.")
@click.option("--io-threads", default=1, help="Threads that read requests and write answers, without Python.")
@click.option("--queue-limit", type=int, help="Answer 503 while this many tasks are pending.  [default: no limit]")
@click.option("--drain", "drain_s", default=30.0, help="Seconds that a stopping server lets accepted tasks finish.")
@click.option("--order", type=click.Choice(["sequential", "parallel"]), default="sequential", help="Of one request's tasks.")
@click.option(
    "--on-error", type=click.Choice(["continue", "stop"]), default="continue", help="After a task raised: the later ones."
)
@click.option("--task-timeout", "task_timeout_s", type=float, help="Seconds a task may run.  [default: no limit]")
@click.option("--shared-pool", is_flag=True, help="Run def endpoints on the threads of the def tasks, as Starlette does.")
@click.option("--max-body", default=16 * 1024 * 1024, help="Bytes of a request's body; more is answered 413.")
@click.option("--max-connections", type=int, help="Answer 503 to one more.  [default: 3/4 of the descriptors allowed]")
@click.option("--keep-alive", "keep_alive_s", default=30.0, help="Seconds until a connection without requests is closed.")
@click.option("--head-timeout", "head_timeout_s", default=30.0, help="Seconds for the head of a request.")
@click.option("--body-timeout", "body_timeout_s", default=30.0, help="Seconds that the body of a request may pause.")
@click.option("--write-timeout", "write_timeout_s", default=30.0, help="Seconds that a client may take nothing of its answer.")
@click.option("--way", type=click.Choice(WAYS), default="auto", help="general: every request through the whole app, to compare.")
@click.option("--trusted-proxies", default="127.0.0.1", help="Whose X-Forwarded-Proto and -For count: addresses, networks or *.")
@click.option(
    "--switch-interval", "switch_interval_s", default=0.001, help="Seconds that a thread may keep the GIL; Python's own is 0.005."
)
@click.option("--rows", type=click.Path(path_type=Path), help="Write one row a task to this file (docs/rows.md).")
@click.option("--boot", default=1, help="For the harness: which start of the server this is, told in the row file.")
@click.option("--label", default="", help="For the harness: what the row file is called.")
def main(target: str, *, factory: bool, app_dir: str, **options: Any) -> None:
    """Serves MODULE:APP until SIGTERM, SIGINT or SIGHUP, then drains. With several workers, SIGHUP replaces them one by one."""
    try:
        config = ServerConfig(**options)
        if config.workers > 1 and not Worker.is_this_process():
            # Each worker imports the app; this process never does.
            sys.exit(supervise(config))
        app = load(target, factory=factory, app_dir=app_dir)
        process = prepare(app, config)
    except (UnsupportedRoute, ValueError) as error:
        raise click.UsageError(str(error)) from None
    except CannotServe as error:
        raise click.ClickException(str(error)) from None
    process.run()


if __name__ == "__main__":
    main(prog_name="python -m server")
