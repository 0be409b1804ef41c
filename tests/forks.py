"""Running a function in a forked child."""

import os
import signal


def start_child(function, fork=os.fork):
    """Fork a child that runs a function and exits with what it returns, 0 for None; one that hangs is killed."""
    pid = fork()
    if pid == 0:
        code = 99
        try:
            signal.alarm(60)
            code = function() or 0
        finally:
            os._exit(code)
    return pid


def exit_code(pid):
    """Wait for a child, and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
