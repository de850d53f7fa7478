"""Becomes another program after tying its life to its parent's. Run as a script by `Child`; standard library only.

`python guard.py PARENT_PID COMMAND...`: the kernel sends SIGKILL to this process, and so to COMMAND after the exec, when the
parent dies (prctl(2), PR_SET_PDEATHSIG). Children of COMMAND do not inherit that; the janitor looks after them.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ties, checks, becomes the command; exit status 127 if there is no such program."""
    parent = int(sys.argv[1])
    command = sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise SystemExit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        # The parent died between the fork and the prctl: nobody would be told.
        raise SystemExit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606  # the point of this script
    except OSError as error:
        sys.stderr.write(f"error: cannot start {command[0]}: {error.strerror}\n")
        raise SystemExit(127) from None


if __name__ == "__main__":
    main()
