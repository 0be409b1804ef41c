"""Bottle: views that have a `session` argument get the request's session.

from bottle import Bottle
from wsgisessions import MemoryStore, SessionMiddleware
from wsgisessions.bottle import SessionPlugin

app = Bottle()
app.install(SessionPlugin())

@app.get("/")
def index(session):
    session["visits"] = session.get("visits", 0) + 1
    return f"Visit {session['visits']}"

application = SessionMiddleware(app, MemoryStore())
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import bottle

from .errors import ConfigurationError
from .session import ENVIRON_KEY, get_session


class SessionPlugin:
    """Pass the session of the `SessionMiddleware` around the app to the views that ask for it.

    :param keyword: the name of the view's argument.
    :param environ_key: that of the middleware.
    """

    name = "wsgisessions"
    api = 2

    def __init__(self, keyword: str = "session", environ_key: str = ENVIRON_KEY) -> None:
        if not isinstance(keyword, str) or not keyword.isidentifier():
            raise ConfigurationError(
                "SessionPlugin(keyword=...) is the name of the views' argument; the store goes to SessionMiddleware"
            )
        self.keyword = keyword
        self.environ_key = environ_key

    def setup(self, app: bottle.Bottle) -> None:
        """Refuse a second plugin for the same argument (Bottle's plugin API)."""
        for other in app.plugins:
            if isinstance(other, SessionPlugin) and other is not self and other.keyword == self.keyword:
                raise ConfigurationError(
                    f"another SessionPlugin fills the argument {self.keyword!r}; give this one another keyword"
                )

    def apply(self, callback: Callable[..., Any], route: bottle.Route) -> Callable[..., Any]:
        """Wrap a view that has the argument, and leave the others alone (Bottle's plugin API)."""
        if not _takes(route.callback, self.keyword, set()):
            return callback

        def view(*args: Any, **kwargs: Any) -> Any:
            kwargs[self.keyword] = get_session(bottle.request.environ, self.environ_key)
            return callback(*args, **kwargs)

        return view


def _takes(view: Callable[..., Any], keyword: str, seen: set[int]) -> bool:
    """Tell whether a view has an argument, or the one that its decorator passes everything on to.

    Bottle's own `get_undecorated_callback()` never ends when a view is a closure over plain values.
    """
    seen.add(id(view))
    parameters = inspect.signature(view).parameters
    if keyword in parameters:
        return True
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
        return False
    inner = inspect.getclosurevars(view).nonlocals.values() if inspect.isfunction(view) else ()
    return any(_takes(each, keyword, seen) for each in inner if inspect.isroutine(each) and id(each) not in seen)
