"""Why tests of other suites fail where a server is between them and their app: patterns of test ids, with `(` for `[`."""

from __future__ import annotations

_CONTEXT = "a context variable that the test sets does not reach another thread"
_ADDRESS = "expects the address that the test client makes up"
_DENIED = "expects the code with which a web socket was closed before it was accepted: over the wire that is a 403"
_LIFESPAN = "counts what happens in the one lifespan of the test client: the server has a second one"

KNOWN: dict[str, str] = {
    # FastAPI
    "tests/test_dependency_yield_scope_websockets.py::*": _CONTEXT,
    "tests/test_dump_json_fast_path.py::test_default_response_class_skips_json_dumps": (
        "counts calls of json.dumps in this process: the pages of the documentation are made at the start of the server"
    ),
    "tests/test_include_router_defaults_overrides.py::test_openapi": (
        "expects a warning with the answer: the pages of the documentation are made, and warned of, at the start of the server"
    ),
    "tests/test_router_include_context.py::test_openapi_cache_updates_after_live_route_addition": (
        "adds a route to an app that is being served: routes are fixed (docs/server.md)"
    ),
    "tests/test_tutorial/test_using_request_directly/test_tutorial001.py::*": _ADDRESS,
    "tests/test_ws_router.py::test_depend_*": _DENIED,
    # Starlette
    "tests/middleware/test_errors.py::test_background_task*": (
        "expects the app's handler of exceptions to be called for one of a task: here it is logged (docs/server.md)"
    ),
    "tests/test_concurrency.py::test_accessing_context_from_threaded_sync_endpoint*": _CONTEXT,
    "tests/test_exceptions.py::test_force_500_response*": (
        "expects no text with the 500 for an app that raised without an answer: here it is uvicorn's"
    ),
    "tests/test_requests.py::test_request_send_push_promise*": "puts a key into the extensions of its scope, which has none",
    "tests/test_responses.py::test_response_phrase*": "answers with status 123, which is no answer yet: here it is a 500",
    "tests/test_routing.py::test_lifespan_state_async_cm*": _LIFESPAN,
    "tests/test_routing.py::test_websocket_route_middleware*": "expects a header's name in capitals: it leaves in lower case",
    "tests/test_templates.py::*": "looks into the template behind an answer, which does not go over the wire",
    "tests/test_testclient.py::test_client(*": _ADDRESS,
    "tests/test_testclient.py::test_client_custom_client*": _ADDRESS,
    "tests/test_testclient.py::test_use_testclient_as_contextmanager*": _LIFESPAN,
    "tests/test_websockets.py::test_receive_wrong_message_type*": "sends a message of ASGI that no client can send",
    "tests/test_websockets.py::test_rejected_connection*": _DENIED,
}
