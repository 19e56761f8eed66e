"""Processes for jobs that need nothing from each other, such as one task's demonstrations."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from policytrim_gym.errors import WorkerFailed


@contextmanager
def job_pool(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    """Opens a process pool that ends at once with the block, by whatever error.

    Unlike a bare `ProcessPoolExecutor`, an error or Ctrl-C does not wait for the jobs that are left, and no worker outlives a caller
    that is killed.

    Args:
        num_workers: processes.

    Raises:
        WorkerFailed: a process died.
    """
    context = get_context("spawn")  # a fork of a process with torch's threads can hang
    theirs, ours = context.Pipe(duplex=False)
    with theirs, ours, ProcessPoolExecutor(num_workers, context, _end_with_caller, (theirs,)) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise WorkerFailed("a worker process died; was it out of memory?") from error
        except BaseException:
            ours.close()
            raise


def _end_with_caller(lifeline: Connection) -> None:
    """Ends this process when the other end of the pipe closes; Ctrl-C is the caller's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        lifeline.poll(None)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
