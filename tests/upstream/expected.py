"""The suites, and their tests that fail: by name, each with its reason.

The run fails when another test fails, and also when one that is listed passes.
"""

from dataclasses import dataclass, field

SECRET_KEY = "asserts that a session needs SECRET_KEY; ours is signed by nothing, for the cookie holds no data"
COOKIE_HOLDS_THE_DATA = "asserts that {}; our cookie holds an ID, and is sent again only where its text changes"

# Flask-Login 0.6.3 reckons with it; its suite takes warnings as errors, and Python warns from 3.12 on.
UTCNOW = ("-W", "ignore:datetime.datetime.utcnow:DeprecationWarning")


@dataclass(frozen=True)
class Suite:
    """The tests that come with a package's source distribution."""

    package: str
    options: tuple[str, ...] = ()
    """What pytest is told besides."""
    fails: dict[str, str] = field(default_factory=dict)
    """The tests that fail because of this package's sessions."""
    fails_anyway: dict[str, str] = field(default_factory=dict)
    """The tests that fail without this package's sessions too, which the run proves."""


SUITES = {
    "Flask": Suite(
        package="flask",
        fails={
            "test_basic.py::test_missing_session": SECRET_KEY,
            "test_basic.py::test_session_secret_key_fallbacks": SECRET_KEY,
            "test_testing.py::test_session_transactions_no_null_sessions": SECRET_KEY,
            "test_basic.py::test_session_using_samesite_attribute": COOKIE_HOLDS_THE_DATA.format(
                "assigning the value that a key has already sends the cookie"
            ),
            "test_basic.py::test_session_cookie_setting": COOKIE_HOLDS_THE_DATA.format(
                "each request of a permanent session sends the cookie"
            ),
            "test_basic.py::test_session_refresh_vary": COOKIE_HOLDS_THE_DATA.format(
                "a request that does not touch its permanent session sends the cookie, and so varies on it"
            ),
            "test_basic.py::test_app_freed_on_zero_refcount": (
                "asserts that an app does not refer to itself; one whose wsgi_app is wrapped in a middleware does,"
                " also by Flask's documented `app.wsgi_app = ProxyFix(app.wsgi_app)`, and is freed by the collector"
            ),
        },
        fails_anyway={
            "test_reqctx.py::test_bad_environ_raises_bad_request": (
                "asserts that a malformed Host is answered 400; from Werkzeug 3.1.7 on it is as none, and answered 404"
            ),
        },
    ),
    "Flask-Login": Suite(package="flask-login", options=UTCNOW),
    "Flask-Login, with flask_login=True": Suite(
        package="flask-login",
        options=(*UTCNOW, "--flask-login"),
        fails={
            "test_login.py::LoginTestCase::test_session_protection_strong_deletes_session": (
                'asserts that a session which "strong" protection refuses keeps its other data; with the option it'
                " ends, as at a logout, because who presented it may have stolen it"
            ),
        },
    ),
    "Flask-WTF": Suite(package="flask-wtf"),
}
