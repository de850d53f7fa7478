"""Python imports this when it starts in a server's process, because this folder stands first in PYTHONPATH. It starts the probe.

Then it hands over to the `sitecustomize` that Python would have found without it, so that nothing is different for the app:
that one runs (or raises), and is what `import sitecustomize` gives from then on.
"""

import os
import sys


def _begin() -> None:
    if sys.version_info < (3, 10):  # noqa: UP036  # this file is read by whatever Python the server has
        _say_too_old()
        return
    try:
        import afterload_probe

        afterload_probe.begin()
    except Exception as error:  # noqa: BLE001  # whatever it is, the server must start as it would without the probe
        print(f"afterload: the probe could not start: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201


def _say_too_old() -> None:
    # Where the probe's own notes would be, and in words that any Python 3 reads.
    rows = os.environ.get("AFTERLOAD_PROBE_ROWS", "")
    if not rows:
        return
    import json
    import time

    version = ".".join(str(part) for part in sys.version_info[:3])
    text = "Python {} is too old for the probe, which needs 3.10: tasks are not seen".format(version)  # noqa: UP032
    note = {"t_ns": int(time.monotonic() * 1e9), "kind": "unhooked", "text": text, "what": "python"}
    path = "{}-{}.notes.jsonl".format(rows[:-5] if rows.endswith(".rows") else rows, os.getpid())
    try:
        with open(path, "a") as notes:  # noqa: PTH123  # as above
            notes.write(json.dumps(note) + "\n")
    except OSError as error:
        print("afterload: {}; {}".format(text, error), file=sys.stderr)  # noqa: T201, UP032


def _hand_over() -> None:
    from importlib.util import find_spec, module_from_spec

    here = os.path.realpath(os.path.dirname(__file__))  # noqa: PTH120  # pathlib would be imported into every process of the server
    path = sys.path
    own = sys.modules.pop(__name__, None)
    try:
        # Only while looking: what the other one does to the path must last.
        sys.path = [entry for entry in path if os.path.realpath(entry or os.curdir) != here]
        spec = find_spec("sitecustomize")
    finally:
        sys.path = path
    if spec is None or spec.loader is None:
        # What Python itself says where there is none; site.py expects it.
        msg = "No module named 'sitecustomize'"
        raise ModuleNotFoundError(msg, name="sitecustomize")
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop("sitecustomize", None)
        if own is not None:
            sys.modules[__name__] = own  # the import system takes the failed import away itself
        raise


_begin()
_hand_over()
