"""Flashed messages of two requests at once: each is shown, and no page is refused."""

import pytest
from flask import Flask, flash, get_flashed_messages, session
from hypothesis import given
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.response import Response
from webtest import TestApp

from wsgisessions import MemoryStore, merge
from wsgisessions.flask import Sessions
from wsgisessions.pyramid import session_factory

HTTPS = {"wsgi.url_scheme": "https", "HTTP_HOST": "example.org"}


class FlaskSite:
    """A Flask app whose view is the test's, and a visitor with several tabs."""

    def __init__(self, **options):
        app = Flask(__name__)
        app.config["SESSION_COOKIE_SECURE"] = True
        app.add_url_rule("/", view_func=lambda: self.view() or "")
        Sessions(app, MemoryStore(), **options)
        self.tab = TestApp(app, extra_environ=HTTPS)

    flash = staticmethod(flash)
    put = staticmethod(lambda key, value: session.update({key: value}))
    keys = staticmethod(lambda: list(session))
    show = staticmethod(get_flashed_messages)

    def visit(self, view, status=200):
        """Visit with a function as the view, which may visit in turn, and return what it returned."""
        results = []
        self.view = lambda: results.append(view())
        self.tab.get("/", status=status)
        return results[0]


class PyramidSite:
    """The same for Pyramid."""

    def __init__(self, **options):
        config = Configurator(session_factory=session_factory(MemoryStore(), **options))
        config.include("wsgisessions.pyramid")
        config.add_route("home", "/")
        config.add_view(self.answer, route_name="home")
        self.tab = TestApp(config.make_wsgi_app(), extra_environ=HTTPS)
        self.requests = []

    def answer(self, request):
        self.requests.append(request)
        self.view()
        self.requests.pop()
        return Response("")

    def flash(self, message):
        self.requests[-1].session.flash(message)

    def keys(self):
        return list(self.requests[-1].session)

    def put(self, key, value):
        self.requests[-1].session[key] = value

    def show(self):
        return self.requests[-1].session.pop_flash()

    visit = FlaskSite.visit


@pytest.fixture(params=[FlaskSite, PyramidSite])
def make_site(request):
    return request.param


def test_what_two_requests_flash_is_shown(make_site):
    site = make_site()
    site.visit(lambda: site.flash("before"))

    def flash_beside_another():
        site.flash("mine")
        site.visit(lambda: site.flash("theirs"))

    site.visit(flash_beside_another)
    assert site.visit(site.show) == ["before", "theirs", "mine"]
    assert site.visit(site.show) == []


@pytest.mark.parametrize("options", [{}, {"on_conflict": "refuse"}])
def test_two_pages_that_show_the_messages_are_not_refused(make_site, options):
    site = make_site(**options)
    site.visit(lambda: site.flash("hello"))
    assert site.visit(lambda: (site.show(), site.visit(site.show))) == (["hello"], ["hello"])
    assert site.visit(site.show) == []


def test_a_key_without_messages_goes(make_site):
    site = make_site()
    site.visit(lambda: (site.flash("one"), site.flash("two"), site.put("pad", 1)))
    site.visit(lambda: (site.show(), site.visit(lambda: (site.show(), site.flash("one")))))
    assert site.visit(site.keys) == ["pad"]


def test_what_is_flashed_while_a_page_shows_the_others_is_shown_next(make_site):
    site = make_site()
    site.visit(lambda: site.flash("hello"))
    assert site.visit(lambda: (site.show(), site.visit(lambda: site.flash("theirs"))))[0] == ["hello"]
    assert site.visit(site.show) == ["theirs"]


def test_what_a_page_flashes_while_another_shows_the_others_is_shown_next(make_site):
    site = make_site()
    site.visit(lambda: (site.flash("hello"), site.put("pad", 1)))
    assert site.visit(lambda: (site.flash("mine"), site.visit(site.show)))[1] == ["hello"]
    assert site.visit(site.show) == ["mine"]


messages = st.lists(st.sampled_from(["a", "b", "c"]), max_size=4)


@given(messages, messages, messages, st.booleans(), st.booleans())
def test_no_two_histories_are_refused_and_nothing_is_lost(before, mine, theirs, shows, they_show):
    site = FlaskSite(on_conflict="refuse")

    def act(new, shows):
        shown = get_flashed_messages() if shows else []
        for each in new:
            flash(each)
        return shown

    def act_beside_another():
        session.get("_flashes")
        shown = act(mine, shows)
        return shown, site.visit(lambda: act(theirs, they_show))

    site.visit(lambda: act(before, False) or session.setdefault("pad", 1))
    shown, they_showed = site.visit(act_beside_another)
    left = site.visit(get_flashed_messages)
    for each in "abc":
        flashed = sum(all_of.count(each) for all_of in (before, mine, theirs))
        # Both pages may show what was there; what each flashed is shown once, unless it was shown and flashed anew.
        assert left.count(each) <= flashed
        assert left.count(each) + shown.count(each) + they_showed.count(each) >= flashed


def test_an_app_may_give_a_rule_of_its_own():
    site = FlaskSite(merges={"_flashes": lambda base, mine, theirs: theirs, "n": merge.add})
    site.visit(lambda: site.flash("before"))
    site.visit(lambda: (site.flash("mine"), site.visit(lambda: site.flash("theirs"))))
    assert site.visit(site.show) == ["before", "theirs"]
