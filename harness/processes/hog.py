"""Keeps one core busy. Run as a script by the fault `hog`: `python hog.py SECONDS`; standard library only.

It ends by itself at the latest after that time, whoever has forgotten it.
"""

import sys
import time


def main() -> None:
    """Calculates until its time is over."""
    end = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end:
        for number in range(10_000):
            _ = number * number


if __name__ == "__main__":
    main()
