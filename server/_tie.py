"""Becomes another program after tying its life to its parent's. Run as a script by the supervisor; standard library only.

`python _tie.py PARENT_PID COMMAND...`: the kernel sends SIGTERM to this process, and so to COMMAND after the exec, when the
parent dies (prctl(2), PR_SET_PDEATHSIG): a worker whose supervisor was killed drains and ends. A terminal's signals, which go to
every process of its group, are ignored: the supervisor hears them and decides.
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
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise SystemExit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        # The parent died between the fork and the prctl: nobody would be told.
        raise SystemExit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        os.execvp(command[0], command)  # noqa: S606  # the point of this script
    except OSError as error:
        sys.stderr.write(f"error: cannot start {command[0]}: {error.strerror}\n")
        raise SystemExit(127) from None


if __name__ == "__main__":
    main()
