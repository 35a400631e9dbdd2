"""A child process that cannot outlive its parent, not even one that was killed with -9 (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

SUPERVISOR = "PLA_SUPERVISOR"
"""Names the process id of the `pla up` that a process belongs to."""

_PR_SET_PDEATHSIG = 1
# Loaded now: between fork and exec nothing should be.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def leash(parent: int, nice: int = 0) -> Callable[[], None]:
    """What a child calls between fork and exec so that the kernel kills it when `parent` ends.

    `nice` is added to its niceness. The kernel means the *thread* that forked: fork from one that
    lives as long as the process. Elsewhere than on Linux nothing is killed.
    """

    def hold() -> None:
        _kill_me_with_parent()
        if os.getppid() != parent:
            os._exit(1)  # it ended before the kernel was told
        os.nice(nice)

    return hold


def follow_supervisor() -> None:
    """End this process with its parent if it belongs to a `pla up`: for what a child starts.

    Raises:
        SystemExit: that `pla up` is gone already.
    """
    supervisor = os.environ.get(SUPERVISOR)
    if supervisor is None:
        return
    _kill_me_with_parent()
    try:
        os.kill(int(supervisor), 0)
    except ProcessLookupError:
        raise SystemExit(f"the `pla up` that this belongs to (pid {supervisor}) is gone") from None


def _kill_me_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
