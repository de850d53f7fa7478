"""The closed model as somebody else wrote it: a Locust file, unchanged, whose users' requests are operations with rows."""

# ruff: noqa: SLF001 - what a user's state is, and what options there are, Locust keeps to itself

from __future__ import annotations

import contextlib
import gc
import logging
import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import gevent
import gevent.event
import locust
from locust.argument_parser import get_empty_argument_parser, get_parser, setup_parser_arguments
from locust.dispatch import UsersDispatcher
from locust.env import Environment
from locust.runners import LocalRunner, WorkerNode
from locust.shape import LoadTestShape
from locust.user import User
from locust.util.load_locustfile import load_locustfile

from harness.load.job import JobError, Proposal
from harness.load.naming import OTHER_NAMES
from harness.load.surroundings import remember_others
from harness.load.traffic import CannotChange, Stage
from harness.load.wiretap import Wiretap

__all__ = ["LocustfileTraffic", "describe"]

POLL_S = 0.02
N_KINDS = 20  # of errors that are told apart


class LocustfileTraffic:
    """The users of a Locust file, as many as are this process's part."""

    planned = 0
    schedule: str | None = None

    def __init__(self, stage: Stage) -> None:
        """Imports the file. Raises JobError, naming the line, if that fails or there is nobody in it."""
        job = stage.job
        assert job.locustfile is not None
        self._stage = stage
        self._file = job.locustfile
        self._names = stage.recorder.names
        self._tap = Wiretap(job, stage.recorder, self._names)
        self._tap.install()
        self._errors: dict[str, int] = {}
        self._n_marked_failed = 0
        self._n_users = 0
        self._n_left = 0
        self._notes: list[str] = []
        self._has_spawned = False
        self._why_ended = ""  # if before its time
        self._length_s = job.duration_s
        self._proposed: Proposal | None = None
        self._stop = gevent.event.Event()
        random.seed(f"{job.seed}/{job.process}")
        users, shape = _load(self._file)
        if shape is None and job.users is None:
            raise JobError(
                f"job.users: missing, and the locustfile {self._file} has no LoadTestShape that says how many there are"
            )
        if shape is not None and job.users is not None:
            self._notes.append(f"the locustfile's {type(shape).__name__} was not used: the number of users was given")
            shape = None
        self._environment = Environment(
            user_classes=users,
            shape_class=shape,
            events=locust.events,
            locustfile=self._file.name,
            host=self._host(users),
            stop_timeout=job.request_timeout_s,
            parsed_options=_options(self._file, job.users),
            parsed_locustfiles=[str(self._file)],
            dispatcher_class=_dispatcher(job.process, job.processes),
        )
        self._runner: LocalRunner = self._environment.create_local_runner()
        # A locustfile may end the load by these two. We end it then, in good order.
        self._stop_runner, self._quit_runner = self._runner.stop, self._runner.quit
        for name in ("stop", "quit"):
            setattr(self._runner, name, self._ended_by_file)
        if shape is not None:
            self._follow(shape)

    def prepare(self) -> None:
        """Lets the locustfile hear that all is set up, as Locust does."""
        events: Any = self._environment.events
        events.request.add_listener(self._on_request)
        events.user_error.add_listener(self._on_user_error)
        events.spawning_complete.add_listener(self._on_spawning_complete)
        # Both write every error with its whole traceback, however many there are. We write one of each kind.
        for name in ("locust.user.task", "locust.user.users"):
            logging.getLogger(name).disabled = True
        self._watch_users()
        events.init.fire(environment=self._environment, runner=self._runner, web_ui=None)

    def run(self, t0_ns: int) -> None:
        """Lets the users work until the time is up, or nobody is left."""
        job = self._stage.job
        gevent.sleep(max(0.0, t0_ns / 1e9 - time.monotonic()))
        self._stage.recorder.first_due(t0_ns)
        if self._environment.shape_class is not None:
            self._runner.start_shape()
        else:
            assert job.users is not None
            self._runner.start(job.users, spawn_rate=job.spawn_rate_per_s or job.users)
        while not self._stop.wait(POLL_S) and time.monotonic() < t0_ns / 1e9 + self._length_s:
            if self._has_spawned and self._environment.shape_class is None and self._runner.user_count == 0:
                self._why_ended = "no user was left"
                break
        at_s = time.monotonic() - t0_ns / 1e9
        if self._why_ended and self._n_users:
            self._notes.append(f"the load ended {at_s:.1f} s after its start, not after {self._length_s:g} s: {self._why_ended}")
        self._tap.is_stopping = True
        self._stop_runner()
        events: Any = self._environment.events
        events.quitting.fire(environment=self._environment, reverse=True)
        # An answer that a user has dropped unread ends with its object, which may hang in a cycle.
        gc.collect()

    def stop(self) -> None:
        """The users begin nothing more."""
        self._why_ended = ""
        self._stop.set()

    def prepare_change(self, proposal: Proposal) -> None:
        """Nothing is to be got ready. Raises CannotChange."""
        if proposal.rate_per_s is not None or proposal.users is not None:
            raise CannotChange("a locustfile says itself who sends and when")
        self._proposed = proposal

    def after_change(self) -> tuple[int, str | None]:
        """Users have no schedule."""
        return 0, None

    def settle(self, *, go: bool) -> None:
        """Lets the load end at another time."""
        proposed, self._proposed = self._proposed, None
        if go and proposed is not None:
            self._length_s = proposed.until_ns / 1e9

    def report(self) -> dict[str, object]:
        """What the session should know of users, errors and oddities."""
        notes = list(self._notes)
        if self._n_users and not self._stage.recorder.n_sent:
            notes.append(
                "its users sent nothing that could be seen: that is what HttpUser, FastHttpUser, requests and urllib3 send"
            )
        if self._names.n_others:
            examples = ", ".join(sorted(self._names.others))
            notes.append(
                f"{self._names.n_others:,} requests are counted as {OTHER_NAMES}: give name= to requests such as {examples}"
            )
        if self._tap.n_elsewhere:
            notes.append(f"{self._tap.n_elsewhere:,} requests went to other servers on this machine and were not recorded")
        for host, count in self._tap.refused_hosts.items():
            notes.append(
                f"{count:,} requests to {host} were not sent: load goes to the server that afterload started, and only there"
            )
        if self._n_marked_failed:
            notes.append(
                f"the locustfile marked {self._n_marked_failed:,} acknowledged requests as failed; here they are acknowledged"
            )
        if self._n_left:
            notes.append(f"{self._n_left:,} of {self._n_users:,} users left before the end")
        errors = [{"text": text, "count": count} for text, count in self._errors.items()]
        return {"users": self._n_users, "users_left": self._n_left, "user_errors": errors, "notes": notes}

    def close(self) -> None:
        """Ends Locust."""
        self._quit_runner()
        events: Any = self._environment.events
        events.quit.fire(exit_code=0)

    def _host(self, users: list[type[User]]) -> str | None:
        """The server under test in place of whatever the file names; a path in it is kept."""
        paths = set()
        for user in users:
            given = user.host or ""
            rest = given.partition("://")[2] or given
            path = "/" + rest.partition("/")[2].strip("/") if "/" in rest else ""
            paths.add(path.rstrip("/"))
            if given and rest.partition("/")[0] != self._stage.base_url.partition("://")[2]:
                note = f"the host {given} of the locustfile was replaced by the server that afterload started"
                self._notes.extend([note] if note not in self._notes else [])
            user.host = self._stage.base_url + path.rstrip("/")
        # Locust puts it in place of what each user says; if they differ, each has its own already.
        return self._stage.base_url + paths.pop() if len(paths) == 1 else None

    def _follow(self, shape: LoadTestShape) -> None:
        """Lets us, not Locust, end the load when its shape ends."""
        tick: Callable[[], Any] = shape.tick
        last: Any = (0, 1)

        def ticked() -> Any:
            nonlocal last
            now = tick()
            if now is None:
                self._why_ended = "its load shape ended"
                self._stop.set()
            else:
                last = now
            return last

        setattr(shape, "tick", ticked)  # noqa: B010 - an object's own method, in place of its class's

    def _ended_by_file(self) -> None:
        self._why_ended = "the locustfile ended it"
        self._stop.set()

    def _watch_users(self) -> None:
        run: Callable[[User], None] = User.run
        traffic = self

        def watched(user: User) -> None:
            traffic._n_users += 1
            # Its `on_start` may raise, which `user_error` has told; gevent would print each one.
            with contextlib.suppress(Exception):
                try:
                    run(user)
                except SystemExit as error:
                    # It would end this process, and with it all the other users.
                    traffic._on_user_error(error, error.__traceback__)
            # A user whom a load shape sends home does not leave by itself.
            if traffic._environment.shape_class is None and not traffic._tap.is_stopping:
                traffic._n_left += 1

        User.run = watched  # type: ignore[method-assign, misc]

    def _on_spawning_complete(self, **_: object) -> None:
        self._has_spawned = True

    def _on_request(self, exception: object = None, response: Any = None, **_: object) -> None:
        status = getattr(response, "status_code", 0)
        if exception is not None and isinstance(status, int) and 200 <= status <= 299:
            self._n_marked_failed += 1

    def _on_user_error(self, exception: BaseException, tb: TracebackType | None, **_: object) -> None:
        text = _where(exception, tb, self._file)
        if text not in self._errors:
            if len(self._errors) >= N_KINDS:
                text = "other errors"
            else:
                self._stage.complaints.say(f"{text}\n{''.join(traceback.format_exception(exception)).rstrip()}")
        self._errors[text] = self._errors.get(text, 0) + 1


def describe(file: Path) -> dict[str, object]:
    """Whom a Locust file brings. Raises JobError."""
    users, shape = _load(file)
    return {"users": [user.__name__ for user in users], "shape": None if shape is None else type(shape).__name__}


def _load(file: Path) -> tuple[list[type[User]], LoadTestShape | None]:
    remember_others(_settings_of_locust())
    try:
        users, shapes = load_locustfile(str(file))
    except SyntaxError as error:
        raise JobError(f"locustfile {error.filename}, line {error.lineno}: {error.msg}: {(error.text or '').strip()}") from error
    except FileNotFoundError as error:
        if error.filename == str(file):
            raise JobError(f"there is no locustfile {file}") from error
        raise JobError(f"locustfile {_where(error, error.__traceback__, file)}") from error
    except (Exception, SystemExit) as error:
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = "; what a locustfile imports must be installed where afterload is"
        raise JobError(f"locustfile {_where(error, error.__traceback__, file)}{hint}") from error
    if not users:
        raise JobError(f"locustfile {file}: there is no user in it, that is, no class made from HttpUser or FastHttpUser")
    if len(shapes) > 1:
        names = ", ".join(type(shape).__name__ for shape in shapes)
        raise JobError(f"locustfile {file}: it has {len(shapes)} load shapes ({names}); only one can be followed")
    return list(users.values()), shapes[0] if shapes else None


def _where(error: BaseException, tb: TracebackType | None, file: Path) -> str:
    """`mine.py, line 14, in checkout: KeyError: 'id'`: the innermost line of the file itself, or else of its folder."""
    frames = traceback.extract_tb(tb)
    inner = [frame for frame in frames if frame.filename == str(file)]
    near = [
        frame for frame in frames if Path(frame.filename).is_relative_to(file.parent) and "site-packages" not in frame.filename
    ]
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    for frame in reversed(inner or near):
        return f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}: {said}"
    return f"{file.name}: {said}"


def _dispatcher(process: int, processes: int) -> type[UsersDispatcher]:
    """A dispatcher that shares out all users as Locust's master would, and takes the part of this process."""

    class PartDispatcher(UsersDispatcher):
        def __init__(self, worker_nodes: list[WorkerNode], user_classes: list[type[User]]) -> None:
            self._here = worker_nodes[0].id
            super().__init__([WorkerNode(id=f"{number:02}") for number in range(processes)], user_classes)

        def __next__(self) -> dict[str, dict[str, int]]:
            return {self._here: super().__next__()[f"{process:02}"]}

    return PartDispatcher


def _options(file: Path, users: int | None) -> Any:
    """What `environment.parsed_options` holds: Locust's defaults, and those of the options that the file adds."""
    parser = get_parser(default_config_files=[])
    try:
        given = ["--headless", "-f", str(file), *([] if users is None else ["-u", str(users)])]
        return parser.parse_args(args=given)
    except SystemExit as error:
        raise JobError(
            f"locustfile {file}: an option that it adds to Locust has no default (give one, or set its variable)"
        ) from error


def _settings_of_locust() -> set[str]:
    """The environment's variables that Locust itself reads."""
    parser = get_empty_argument_parser(default_config_files=[])
    add_arguments: Any = setup_parser_arguments
    add_arguments(parser)
    return {variable for action in parser._actions if (variable := getattr(action, "env_var", None))}
