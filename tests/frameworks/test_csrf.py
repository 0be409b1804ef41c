"""CSRF tokens of two tabs that are opened at once: which forms are accepted, and what to do for the others."""

import threading
from datetime import timedelta

import pytest
from flask import Flask, request, session
from flask_wtf.csrf import CSRFProtect, generate_csrf
from webtest import TestApp
from wtforms import Form
from wtforms.csrf.session import SessionCSRF

from wsgisessions import MemoryStore
from wsgisessions.flask import Sessions

HTTPS = {"wsgi.url_scheme": "https", "HTTP_HOST": "example.org"}


class Site:
    """An app with a form, and a visitor who may open a second tab while the first one's page is being made."""

    def __init__(self):
        self.app = Flask(__name__)
        self.app.config.update(
            SESSION_COOKIE_SECURE=True, WTF_CSRF_SECRET_KEY="signs the token", WTF_CSRF_SSL_STRICT=False
        )
        Sessions(self.app, MemoryStore())
        self.app.add_url_rule("/start", view_func=lambda: session.update(pad=1) or "")
        self.app.add_url_rule("/form", view_func=self.form)
        self.app.add_url_rule("/send", view_func=self.send, methods=["POST"])
        self.meanwhile = None

    def form(self):
        assert session.get("csrf_token") is None
        self.let_the_other_tab_go_first()
        return self.make_token()

    def let_the_other_tab_go_first(self):
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            thread = threading.Thread(target=meanwhile)
            thread.start()
            thread.join(30)

    def open_two_tabs(self, visitor):
        """Return the tokens of two forms that are opened at once; the first one's page is the later to come."""
        tokens = []
        self.meanwhile = lambda: tokens.append(visitor.get("/form").text)
        first = visitor.get("/form").text
        return [first, *tokens]


class FlaskWTF(Site):
    def __init__(self):
        super().__init__()
        CSRFProtect(self.app)

    make_token = staticmethod(generate_csrf)

    def send(self):
        return "sent"


class WTForms(Site):
    class Form(Form):
        class Meta:
            csrf = True
            csrf_class = SessionCSRF
            csrf_secret = b"signs the token"
            csrf_time_limit = timedelta(minutes=20)

    def make_token(self):
        return self.Form(meta={"csrf_context": session}).csrf_token.current_token

    def send(self):
        form = self.Form(request.form, meta={"csrf_context": session})
        return ("sent", 200) if form.validate() else ("refused", 400)


def visit(site):
    return TestApp(site.app, extra_environ=HTTPS)


def post(visitor, token):
    return visitor.post("/send", {"csrf_token": token}, status="*").status_int


@pytest.fixture(params=[FlaskWTF, WTForms])
def site(request):
    return request.param()


def test_of_two_tokens_that_are_made_at_once_in_one_session_one_is_accepted(site):
    visitor = visit(site)
    visitor.get("/start")
    first, second = site.open_two_tabs(visitor)
    assert [post(visitor, first), post(visitor, second)] == [200, 400]


def test_tokens_that_are_made_in_turns_are_both_accepted(site):
    def make_token(make=site.make_token):
        with session.lock():
            return make()

    site.make_token = make_token
    visitor = visit(site)
    visitor.get("/start")
    first, second = site.open_two_tabs(visitor)
    assert [post(visitor, first), post(visitor, second)] == [200, 200]


def test_two_first_visits_at_once_are_two_sessions_of_which_the_browser_keeps_one(site):
    visitor = visit(site)
    first, second = site.open_two_tabs(visitor)
    assert [post(visitor, first), post(visitor, second)] == [200, 400]
    site.app.view_functions["form"] = site.make_token
    assert post(visitor, visitor.get("/form").text) == 200
