"""For tests: a client's session to seed and inspect, a clock to set by hand, and the suite that every store must pass.

`StoreContract` needs pytest; the others do not.
"""

from typing import TYPE_CHECKING, Any

from .clients import open_session
from .clock import ManualClock

if TYPE_CHECKING:
    from .contract import StoreContract as StoreContract

__all__ = ["ManualClock", "StoreContract", "open_session"]

if not TYPE_CHECKING:  # else type checkers would take any name for one of this module

    def __getattr__(name: str) -> Any:
        # PEP 562: pytest rewrites the assertions of what is imported after it was told so.
        if name != "StoreContract":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import pytest

        pytest.register_assert_rewrite("wsgisessions.testing.contract")
        from .contract import StoreContract

        return StoreContract
