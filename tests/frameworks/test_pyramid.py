"""Pyramid's request.session: the whole of ISession, committed with the response whatever becomes of the view."""

import time

import pytest

pytest.importorskip("pyramid", reason="pip install 'wsgisessions[pyramid]'")

from pyramid.config import Configurator
from pyramid.csrf import SessionCSRFStoragePolicy, get_csrf_token
from pyramid.interfaces import ISession, ISessionFactory
from pyramid.response import Response
from webtest import TestApp
from zope.interface import directlyProvides
from zope.interface.verify import verifyClass, verifyObject

from wsgisessions import Cookie, MemoryStore, SessionMiddleware, StoreUnavailable, get_session
from wsgisessions.pyramid import PyramidSession, session_factory


class Site:
    """A Pyramid app whose one view is the test's, and its visitor."""

    def __init__(self, store, include=True, configure=None, wrap=None, **options):
        self.store = store
        config = Configurator(session_factory=session_factory(store, **options))
        if include:
            config.include("wsgisessions.pyramid")
        config.add_route("home", "/")
        config.add_view(lambda request: self.view(request), route_name="home")
        if configure:
            configure(config)
        app = config.make_wsgi_app()
        self.client = TestApp(wrap(app) if wrap else app, extra_environ={"wsgi.url_scheme": "https"})

    def get(self, view, method="GET", **options):
        results = []

        def answer(request):
            result = view(request)
            results.append(result)
            return result if isinstance(result, Response) else Response("body")

        self.view = answer
        response = getattr(self.client, method.lower())("/", **options)
        response.result = results[-1] if results else None
        if hasattr(self.store, "taken"):
            response.commands = self.store.taken()
        return response


@pytest.fixture
def store(make_recording_store):
    return make_recording_store()


@pytest.fixture
def site(store):
    return Site(store)


@pytest.fixture
def session(site):
    """Return a session outside of a request's life, for what needs no commit."""
    return site.get(lambda request: request.session).result


def set_n(request):
    request.session["n"] = 1


def get_n(request):
    return request.session.get("n")


def test_it_is_what_pyramid_calls_a_session(session):
    verifyClass(ISession, PyramidSession)
    verifyObject(ISession, session)


def test_the_factory_is_what_pyramid_calls_one(store):
    factory = session_factory(store)
    directlyProvides(factory, ISessionFactory)
    verifyObject(ISessionFactory, factory)


def test_a_value_is_there_in_the_next_request(site):
    assert "Set-Cookie" in site.get(set_n).headers
    response = site.get(get_n)
    assert (response.result, response.commands) == (1, ["load"])
    assert response.headers["Vary"] == "Cookie"


def test_a_request_that_does_not_touch_it_costs_nothing(site):
    site.get(set_n)
    response = site.get(lambda request: None)
    assert response.commands == []
    assert "Vary" not in response.headers


def test_nested_changes_are_found(site):
    site.get(lambda request: request.session.update(cart=[]))
    site.get(lambda request: request.session["cart"].append("tea"))
    assert site.get(lambda request: list(request.session["cart"])).result == ["tea"]


def test_get_session_finds_it(site):
    assert site.get(lambda request: request.session is get_session(request.environ)).result


def test_created_is_seconds_and_new_ends_with_the_first_commit(site):
    before = int(time.time())
    first = site.get(lambda request: (request.session.created, request.session.new)).result
    assert first[0] in range(before, before + 60)
    assert first[1] is True
    site.get(set_n)
    created, new = site.get(lambda request: (request.session.created, request.session.new)).result
    assert created in range(before, before + 60)
    assert new is False


def test_changed_may_be_called(session):
    assert session.changed() is None


def test_invalidate_ends_the_session_and_its_id(site):
    site.get(set_n)
    old = site.client.cookies["__Host-id"]
    site.get(lambda request: request.session.invalidate())
    assert site.get(get_n).result is None
    site.client.set_cookie("__Host-id", old)
    assert site.get(get_n).result is None


def test_what_is_written_after_invalidate_is_a_new_session(site):
    site.get(set_n)
    old = site.client.cookies["__Host-id"]

    def begin_anew(request):
        request.session.invalidate()
        request.session["m"] = 2

    site.get(begin_anew)
    assert site.client.cookies["__Host-id"] != old
    assert site.get(lambda request: dict(request.session)).result == {"m": 2}


def test_flash_messages_come_once_in_their_order(site):
    site.get(lambda request: [request.session.flash(each) for each in ("one", "two")])
    assert site.get(lambda request: request.session.peek_flash()).result == ["one", "two"]
    assert site.get(lambda request: request.session.pop_flash()).result == ["one", "two"]
    assert site.get(lambda request: request.session.pop_flash()).result == []


def test_queues_are_apart(site):
    site.get(lambda request: (request.session.flash("one"), request.session.flash("two", "errors")))
    assert site.get(lambda request: request.session.pop_flash("errors")).result == ["two"]
    assert site.get(lambda request: request.session.pop_flash()).result == ["one"]


def test_duplicates_are_kept_unless_they_are_not_wanted(site):
    def flash(request):
        session = request.session
        session.flash("same")
        session.flash("same")
        session.flash("same", allow_duplicate=False)
        session.flash("other", allow_duplicate=False)
        return session.pop_flash()

    assert site.get(flash).result == ["same", "same", "other"]


def test_a_csrf_token_stays_until_a_new_one_is_made(site):
    first = site.get(lambda request: request.session.get_csrf_token()).result
    assert len(first) == 40
    assert site.get(lambda request: request.session.get_csrf_token()).result == first
    second = site.get(lambda request: request.session.new_csrf_token()).result
    assert second != first
    assert site.get(lambda request: request.session.get_csrf_token()).result == second


def test_a_view_that_raises_saves_nothing(site):
    site.get(set_n)

    def fail(request):
        request.session["n"] = 2
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        site.get(fail)
    assert site.get(get_n).result == 1


def test_a_logout_happens_although_the_view_raises(site):
    site.get(set_n)

    def fail(request):
        request.session.invalidate()
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        site.get(fail)
    assert site.get(get_n).result is None


def test_a_response_of_500_saves_nothing(site):
    site.get(set_n)

    def fail(request):
        request.session["n"] = 2
        return Response("no", status=500)

    site.get(fail, status=500)
    assert site.get(get_n).result == 1


def test_what_a_streamed_response_changes_is_committed_at_its_end(site):
    site.get(set_n)

    def stream(request):
        def chunks():
            yield b"one"
            request.session["n"] = 2
            yield b"two"

        return Response(app_iter=chunks())

    assert site.get(stream).text == "onetwo"
    assert site.get(get_n).result == 2


@pytest.mark.parametrize("status", [200, 502])
def test_a_streamed_response_arrives_whole(site, status):
    def stream(request):
        return Response(status=status, app_iter=(chunk for chunk in [b"one", b"two"]))

    assert site.get(stream, status=status).text == "onetwo"


def test_response_callbacks_may_change_the_session(site):
    def add_callbacks(request):
        request.add_response_callback(lambda request, response: request.session.update(first=1))

        def more(request, response):
            request.add_response_callback(lambda request, response: request.session.update(later=1))

        request.add_response_callback(more)
        return Response("body")

    site.get(set_n)
    site.get(add_callbacks)
    kept = site.get(lambda request: Response(repr(sorted(request.session)))).text
    assert kept == "['first', 'later', 'n']"


def test_a_session_may_begin_in_a_response_callback(site):
    def begin(request):
        request.add_response_callback(lambda request, response: request.session.update(n=1))
        return Response("body")

    site.get(begin)
    assert site.get(get_n).result == 1


class BrokenStore(MemoryStore):
    """Fails as told."""

    broken = ()

    def load(self, id_hash):
        self._fail("load")
        return super().load(id_hash)

    def create(self, id_hash, record):
        self._fail("create")
        return super().create(id_hash, record)

    def _fail(self, command):
        if command in self.broken:
            raise StoreUnavailable("the store is down")


@pytest.mark.parametrize("command", ["load", "create"])
def test_a_store_that_is_down_is_answered_by_503(command):
    store = BrokenStore()
    site = Site(store)
    site.get(set_n)
    if command == "create":
        site.client.reset()
    store.broken = {command}
    response = site.get(lambda request: request.session.update(n=request.session.get("n")), status=503)
    assert response.headers["Retry-After"] == "5"
    assert "Set-Cookie" not in response.headers


def test_a_commit_that_fails_replaces_the_response_without_the_include_too():
    store = BrokenStore()
    store.broken = {"create"}
    response = Site(store, include=False).get(set_n, status=503)
    assert "cannot be reached" in response.text


def test_the_apps_own_exception_view_goes_first(store):
    broken = BrokenStore()
    broken.broken = {"load"}
    config = Configurator(session_factory=session_factory(broken))
    config.include("wsgisessions.pyramid")
    config.add_exception_view(lambda request: Response("sorry", status=503), context=StoreUnavailable)
    config.add_route("home", "/")
    config.add_view(lambda request: Response(str(request.session.get("n"))), route_name="home")
    client = TestApp(config.make_wsgi_app(), extra_environ={"wsgi.url_scheme": "https"})
    assert client.get("/", headers={"Cookie": f"__Host-id={'A' * 32}"}, status=503).text == "sorry"


def test_under_a_middleware_it_is_the_session_of_that(store):
    site = Site(store, wrap=lambda app: SessionMiddleware(app, store))

    def view(request):
        get_session(request.environ)["outer"] = 1
        request.session["inner"] = 2
        request.session.flash("both")

    response = site.get(view)
    assert response.commands == ["create"]
    assert len(response.headers.getall("Set-Cookie")) == 1
    assert site.get(lambda request: dict(request.session)).result == {"outer": 1, "inner": 2, "_f_": ["both"]}


@pytest.mark.parametrize("policy", [None, SessionCSRFStoragePolicy()])
def test_pyramids_csrf_protection(store, policy):
    def configure(config):
        if policy:
            config.set_csrf_storage_policy(policy)
        config.set_default_csrf_options(require_csrf=True, check_origin=False)

    site = Site(store, configure=configure)
    token = site.get(lambda request: get_csrf_token(request)).result
    assert site.get(lambda request: request.session.get_csrf_token()).result == token
    site.get(set_n, "POST", status=400)
    site.get(set_n, "POST", headers={"X-CSRF-Token": token})
    assert site.get(get_n).result == 1


def test_the_cookie_fits_the_request_and_warns_once_where_it_cannot(store, caplog):
    cookie = Cookie(secure="auto", path="/shop", domain=lambda environ: environ["HTTP_X_DOMAIN"])
    site = Site(store, transport=cookie)
    for domain in ("localhost", "example.org", "example.com"):
        site.client.reset()
        header = site.get(set_n, headers={"X-Domain": domain}).headers["Set-Cookie"]
        assert header.startswith("__Secure-id=")
        assert f"; Domain={domain}; Secure; " in header
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "Path '/shop'" in messages[0]
    assert "Domain 'example.org'" in messages[1]


def test_a_body_that_is_replaced_is_closed_and_its_length_is_that_of_the_answer(store):
    closed = []

    class Body:
        def __iter__(self):
            yield b"one"

        def close(self):
            closed.append(True)

    def fail(id_hash, record):
        raise StoreUnavailable("down")

    def view(request):
        request.session["n"] = 1
        return Response(app_iter=Body())

    store.create = fail
    response = Site(store).get(view, status=503)
    assert closed == [True]
    assert response.headers["Content-Length"] == str(len(response.body))
