"""What holds for all tests, alone or several at a time.

Hypothesis draws anew on a developer's machine, and the same examples each time where CI is set:
what gates a landing must not fail by the luck of the draw; what looks for faults should.
"""

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a shell started with `&`
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else no process here could be asked

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The models here are so small that more threads of torch only wait for each other."""
    torch = sys.modules.get("torch")  # most tests have no need of it, and it takes a second
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
