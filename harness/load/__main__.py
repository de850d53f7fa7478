"""Entry of the load process: cleans what it inherited, then imports Locust before all else and hands over to the generator."""

from __future__ import annotations

import os
import sys

STDOUT = 1
STDERR = 2


def _own_output() -> int:
    """A private descriptor of stdout; whatever else prints to stdout from now on goes to stderr, so the protocol stays clean."""
    output = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return output


def _forget_settings() -> None:
    # Two of Locust's variables act on import (LOCUST_SKIP_MONKEY_PATCH, LOCUST_PLAYWRIGHT prints), gevent's choose another
    # event loop or resolver: a setting in someone's shell must not change what is measured.
    for name in [name for name in os.environ if name.startswith(("LOCUST_", "GEVENT_"))]:
        del os.environ[name]


def main() -> int:
    """Runs the load process; returns its exit status."""
    output = _own_output()
    _forget_settings()
    # Imported here, not above: importing it imports Locust, which patches the whole process for gevent.
    from harness.load.generator import run

    return run(input_fd=0, output_fd=output)


if __name__ == "__main__":
    sys.exit(main())
