"""Entry of the two processes by which load machines take part: `python -m harness.load.machines master` and `... member`."""

from __future__ import annotations

import sys

from harness.load.__main__ import own_output
from harness.load.surroundings import forget_settings


def main(role: str) -> int:
    """Runs one of the two; returns its exit status."""
    output = own_output()
    forget_settings()
    # Imported here, not above: importing them imports Locust, which patches the whole process for gevent.
    if role == "master":
        from harness.load.machines.master import run
    else:
        from harness.load.machines.member import run
    return run(input_fd=0, output_fd=output)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
