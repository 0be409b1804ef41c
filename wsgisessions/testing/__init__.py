"""For tests: a client's session to seed and inspect, a clock to set by hand, and the suite that every store must pass.

Importing this needs pytest.
"""

import pytest

pytest.register_assert_rewrite("wsgisessions.testing.contract")

from .clients import open_session  # noqa: E402 -- assertions are rewritten in what is imported after that
from .clock import ManualClock  # noqa: E402 -- assertions are rewritten in what is imported after that
from .contract import StoreContract  # noqa: E402

__all__ = ["ManualClock", "StoreContract", "open_session"]
