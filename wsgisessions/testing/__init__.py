"""For tests: the suite that every store must pass, and a clock to set by hand.

Importing this needs pytest.
"""

import pytest

pytest.register_assert_rewrite("wsgisessions.testing.contract")

from .clock import ManualClock  # noqa: E402 -- assertions are rewritten in what is imported after that
from .contract import StoreContract  # noqa: E402

__all__ = ["ManualClock", "StoreContract"]
