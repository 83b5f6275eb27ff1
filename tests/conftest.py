"""Hypothesis draws anew on a developer's machine, and the same examples each time where CI is set.

What gates a landing must not fail by the luck of the draw; what looks for faults should.
"""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
