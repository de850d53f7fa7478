"""Entry of the load process: cleans what it inherited, then imports Locust before all else and hands over to the generator.

`python -m harness.load` follows a job; `python -m harness.load FILE` only says, in JSON, who is in a Locust file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from harness.load.surroundings import forget_settings

STDOUT = 1
STDERR = 2


def own_output() -> int:
    """A private descriptor of stdout; whatever else prints to stdout from now on goes to stderr, so the protocol stays clean."""
    output = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return output


def main(arguments: list[str]) -> int:
    """Runs the load process; returns its exit status."""
    output = own_output()
    forget_settings()
    # Imported here, not above: importing it imports Locust, which patches the whole process for gevent.
    from harness.load.generator import run

    if arguments:
        return _describe(Path(arguments[0]).absolute(), output)
    return run(input_fd=0, output_fd=output)


def _describe(file: Path, output: int) -> int:
    from harness.load.job import JobError
    from harness.load.locustfile import describe

    try:
        os.write(output, json.dumps(describe(file)).encode() + b"\n")
    except JobError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
