"""A login is not undone by a request that was under way, and two logins at once are two logins."""

import logging
import threading
from datetime import timedelta
from http.client import HTTPConnection
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from wsgisessions import (
    Cookie,
    MemoryStore,
    OnInactivity,
    Record,
    SessionInterrupted,
    SessionManager,
    SessionMiddleware,
    StoreUnavailable,
    get_session,
    merge,
)
from wsgisessions.moved_marks import is_claimed
from wsgisessions.session_ids import SessionID, moved_hash

KEY = "a secret key" * 4


@pytest.fixture(params=["plain", "encrypted"])
def manager(request, any_store):
    return SessionManager(any_store, encryption_keys=[KEY] if request.param == "encrypted" else ())


@pytest.fixture
def visitor(manager):
    """Return the ID of a visitor who is not signed in, with a cart."""
    session = manager.open()
    session["cart"] = ["tea"]
    session.save()
    return session.id


def log_in(manager, session_id, owner="ann"):
    session = manager.open(session_id)
    session.login(owner)
    session.save()
    return session


def test_a_read_under_the_old_id_sees_the_session_as_it_was_before_the_login(manager, visitor):
    session = log_in(manager, visitor)
    session["private"] = 1
    session.save()
    late = manager.open(visitor)
    assert dict(late) == {"cart": ["tea"]}
    assert (late.owner, late.id, late.is_new) == (None, None, True)


def test_a_write_under_the_old_id_is_interrupted(manager, visitor):
    session = log_in(manager, visitor)
    for look in (lambda late: None, dict):
        late = manager.open(visitor)
        look(late)
        late["n"] = 1
        with pytest.raises(SessionInterrupted):
            late.save()
    assert dict(manager.open(session.id)) == {"cart": ["tea"]}


def test_a_blind_write_that_loses_the_race_is_interrupted(manager, visitor):
    late = manager.open(visitor)
    late["n"] = 1
    assert not late.is_loaded
    late.expiry  # noqa: B018 -- loads without looking inside
    log_in(manager, visitor)
    with pytest.raises(SessionInterrupted):
        late.save()


def test_of_two_logins_one_after_the_other_each_has_the_cart(manager, visitor):
    first, second = log_in(manager, visitor), log_in(manager, visitor)
    assert first.id != second.id
    for session in (first, second):
        found = manager.open(session.id)
        assert (found.owner, dict(found)) == ("ann", {"cart": ["tea"]})
    assert len(manager.sessions("ann")) == 2


def test_of_two_logins_that_overlap_each_has_the_cart(manager, visitor):
    sessions = [manager.open(visitor), manager.open(visitor)]
    for number, session in enumerate(sessions):
        session.login("ann")
        session["mine"] = number
    for session in sessions:
        session.save()
    for number, session in enumerate(sessions):
        found = manager.open(session.id)
        assert (found.owner, dict(found)) == ("ann", {"cart": ["tea"], "mine": number})


def test_logins_at_once_all_succeed(manager, visitor):
    start, ids, errors = threading.Barrier(4, timeout=60), [], []

    def click():
        session = manager.open(visitor)
        session.login("ann")
        start.wait()
        try:
            session.save()
            ids.append(session.id)
        except Exception as error:
            errors.append(error)

    clicks = [threading.Thread(target=click) for _ in range(4)]
    for each in clicks:
        each.start()
    for each in clicks:
        each.join()
    assert errors == []
    assert len(set(ids)) == 4
    assert [dict(manager.open(each)) for each in ids] == [{"cart": ["tea"]}] * 4


@pytest.mark.parametrize("keys", [(), [KEY]])
def test_a_login_of_a_session_that_was_ended_keeps_only_what_it_wrote(make_browser, any_store, keys):
    browser = make_browser(any_store, encryption_keys=keys)
    browser.get(lambda session: session.update(cart=["tea"]))

    def view(session):
        assert session["cart"] == ["tea"]
        session.login("ann")
        session["n"] = 1
        end(browser, session.id)

    assert browser.get(view).status_int == 200
    assert browser.get(lambda session: (session.owner, dict(session))).result == ("ann", {"n": 1})


def end(browser, session_id):
    other = browser.middleware.manager.open(session_id)
    other.flush()
    other.save()


def test_a_jobs_login_of_a_session_that_was_ended_is_interrupted(manager, visitor):
    session = manager.open(visitor)
    assert session["cart"] == ["tea"]
    session.login("ann")
    other = manager.open(visitor)
    other.flush()
    other.save()
    with pytest.raises(SessionInterrupted):
        session.save()
    assert manager.sessions("ann") == []


def test_of_two_new_ids_at_once_the_second_does_nothing_unless_it_changed_something(manager, visitor):
    first, second, third = (manager.open(visitor) for _ in range(3))
    for session in (first, second, third):
        assert session["cart"] == ["tea"]
        session.cycle_id()
    third["n"] = 1
    first.save()
    second.save()
    with pytest.raises(SessionInterrupted):
        third.save()
    assert dict(manager.open(first.id)) == {"cart": ["tea"]}
    assert dict(manager.open(visitor)) == {}


def test_a_mark_makes_nobody_signed_in(manager, visitor):
    session = log_in(manager, visitor)
    again = log_in(manager, session.id)
    manager.revoke_all("ann")
    for session_id in (visitor, session.id, again.id):
        assert manager.open(session_id).owner is None
    assert dict(manager.open(session.id)) == {}
    assert manager.sessions("ann") == []


def test_a_mark_is_no_session_of_its_owner(manager, any_store, visitor):
    session = log_in(manager, visitor)
    assert any_store.load(moved_hash(SessionID(visitor).id_hash)) is not None
    assert [each.handle for each in manager.sessions("ann")] == [SessionID(session.id).id_hash]
    assert manager.revoke_all("ann") == 1


def test_a_mark_ends_by_itself(make_browser, clock):
    browser = make_browser(MemoryStore(clock=clock), clock=clock)
    browser.get(lambda session: session.update(n=1))
    old = browser.cookie
    browser.get(lambda session: session.login("ann"))
    clock.advance(timedelta(seconds=11))
    browser.get(lambda session: session.update(n=2), cookie=old)
    assert browser.cookie not in ("", old)
    assert browser.get(dict).result == {"n": 2}


def test_a_mark_that_cannot_be_claimed_does_not_undo_the_move(manager, any_store, visitor, monkeypatch, caplog):
    leave_mark_of_a_rival(manager, visitor)

    def fail(id_hash, patch):
        raise StoreUnavailable("down")

    session = manager.open(visitor)
    assert session["cart"] == ["tea"]
    session.login("ann")
    monkeypatch.setattr(any_store, "update", fail)
    session.save()
    monkeypatch.undo()
    assert manager.open(session.id).owner == "ann"
    assert "could not be claimed" in caplog.text


def test_a_rivals_mark_is_claimed_by_the_request_that_moves_the_session(manager, visitor):
    leave_mark_of_a_rival(manager, visitor)
    assert not is_claimed(manager.settings, SessionID(visitor))
    log_in(manager, visitor)
    assert is_claimed(manager.settings, SessionID(visitor))


def leave_mark_of_a_rival(manager, visitor):
    """Do what a rival has done that has left its mark and not moved the session yet."""
    now = manager.settings.clock()
    mark = Record({"wsgisessions.moved": '"marked"'}, now, now, now + timedelta(seconds=10))
    id_hash = moved_hash(SessionID(visitor).id_hash)
    if manager.settings.encryption is not None:
        mark = manager.settings.encryption.new_seal().close(id_hash, mark)
    manager.store.create(id_hash, mark)


def test_a_mark_is_taken_back_when_the_rename_fails(manager, any_store, visitor, monkeypatch):
    def fail(id_hash, new_id_hash, patch):
        raise StoreUnavailable("down")

    monkeypatch.setattr(any_store, "rename", fail)
    session = manager.open(visitor)
    session.login("ann")
    with pytest.raises(StoreUnavailable):
        session.save()
    assert any_store.load(moved_hash(SessionID(visitor).id_hash)) is None
    assert dict(manager.open(visitor)) == {"cart": ["tea"]}


# --- over HTTP


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


class ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


@pytest.mark.parametrize("does", ["reads", "writes", "only writes"])
def test_no_request_around_a_login_undoes_it(any_store, does):
    """Sixteen polls that were under way when the login was committed, and a browser that takes each answer's cookie."""
    polls, jar, statuses = 16, {}, []
    are_under_way, login_is_over = threading.Semaphore(0), threading.Event()

    def app(environ, start_response):
        session = get_session(environ)
        status = "200 OK"
        if environ["PATH_INFO"] == "/login":
            session.login("ann")
        elif environ["PATH_INFO"] == "/poll":
            if does != "only writes" and environ["QUERY_STRING"] == "early":
                session.get("cart")
            are_under_way.release()
            login_is_over.wait(20)
            if does == "reads":
                session.get("cart")
            else:
                session[f"poll {threading.get_ident()}"] = 1
        elif environ["PATH_INFO"] == "/who":
            status = f"200 {session.owner} {session.get('cart')}"
        else:
            session["cart"] = ["tea"]
        start_response(status, [("Content-Type", "text/plain")])
        return [b""]

    def visit(port, path, cookie):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path, headers={"Cookie": f"id={cookie}"} if cookie else {})
        answer = connection.getresponse()
        answer.read()
        for header in answer.headers.get_all("Set-Cookie", []):
            jar["id"] = header.partition(";")[0].partition("=")[2]
        connection.close()
        return answer

    middleware = SessionMiddleware(app, any_store, transport=Cookie(secure=False))
    with make_server("127.0.0.1", 0, middleware, ThreadingServer, QuietHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        visit(port, "/", "")
        anonymous = jar["id"]

        def poll(number):
            statuses.append(visit(port, "/poll?early" if number % 2 else "/poll", anonymous).status)

        threads = [threading.Thread(target=poll, args=[number]) for number in range(polls)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert are_under_way.acquire(timeout=20)
        assert visit(port, "/login", anonymous).status == 200
        logged_in = jar["id"]
        login_is_over.set()
        for thread in threads:
            thread.join(30)
        assert jar["id"] == logged_in
        assert visit(port, "/who", jar["id"]).reason == "ann ['tea']"
        server.shutdown()
    assert set(statuses) == ({200} if does == "reads" else {400})


def test_a_poll_that_was_under_way_leaves_the_logins_cookie_alone(browser):
    browser.get(lambda session: session.update(cart=["tea"]))
    old = browser.cookie
    browser.get(lambda session: session.login("ann"))
    logged_in = browser.cookie
    for view, status in ((dict, 200), (lambda session: session.update(n=1), 400)):
        response = browser.get(view, cookie=old)
        assert response.status_int == status
        assert "Set-Cookie" not in response.headers
    assert browser.cookie == logged_in
    assert browser.get(lambda session: session.owner).result == "ann"


def test_a_login_that_starts_a_session_marks_the_dead_ids_that_were_presented(browser):
    dead = "__Host-id=" + "x" * 32
    response = browser.get(lambda session: session.login("ann"), cookie=dead)
    assert response.commands == ["load", "load", "create", "create"]
    response = browser.get(lambda session: session.update(n=1), cookie=dead)
    assert response.status_int == 400
    assert "Set-Cookie" not in response.headers


def test_the_second_of_two_logins_costs_one_create_more(browser):
    browser.get(lambda session: session.update(cart=["tea"]))
    old = browser.cookie

    def view(session):
        session.login("ann")
        log_in(browser.middleware.manager, old.partition("=")[2])
        browser.store.taken()

    assert browser.get(view, cookie=old).commands == ["create", "rename", "create"]
    response = browser.get(lambda session: session.login("ann"), cookie=old)
    assert response.commands == ["load", "load", "create"]


def test_clear_and_a_write_are_a_session_of_another_id(browser):
    browser.get(lambda session: (session.login("ann"), session.update(n=1)))
    old = browser.cookie

    def view(session):
        session.clear()
        session["user_id"] = 8

    response = browser.get(view)
    assert response.commands == ["create", "delete", "create"]
    assert browser.cookie not in ("", old)
    assert browser.get(lambda session: (session.owner, dict(session))).result == (None, {"user_id": 8})
    assert browser.get(dict, cookie=old).result == {}


def test_clear_alone_ends_the_session(browser):
    browser.get(lambda session: (session.login("ann"), session.update(n=1)))
    response = browser.get(lambda session: session.clear())
    assert response.commands == ["delete"]
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert "Expires=Thu, 01 Jan 1970 00:00:00 GMT" in response.headers["Set-Cookie"]


@pytest.mark.parametrize("status", ["500 Internal Server Error", None])
def test_a_failed_request_undoes_clear(browser, status):
    browser.get(lambda session: (session.login("ann"), session.update(n=1)))

    def view(session):
        session.clear()
        session["m"] = 1
        if status is None:
            raise ZeroDivisionError

    if status is None:
        with pytest.raises(ZeroDivisionError):
            browser.get(view)
    else:
        browser.get(view, status=status)
    assert browser.get(lambda session: (session.owner, dict(session))).result == ("ann", {"n": 1})


def test_clear_and_a_create_that_fails_is_a_503_without_a_cookie(browser, monkeypatch):
    browser.get(lambda session: session.update(n=1))
    create, calls = browser.store.create, []

    def second_fails(id_hash, record):
        calls.append(id_hash)
        if len(calls) == 2:
            raise StoreUnavailable("down")
        return create(id_hash, record)

    monkeypatch.setattr(browser.store, "create", second_fails)

    def view(session):
        session.clear()
        session["m"] = 1

    response = browser.get(view)
    assert response.status_int == 503
    assert "Set-Cookie" not in response.headers


def test_an_owned_session_that_is_cleared_and_filled_again_is_warned_of_once(browser, caplog):
    def view(session):
        kept = dict(session)
        session.clear()
        session.update(kept)

    with caplog.at_level(logging.WARNING, "wsgisessions"):
        for _ in range(2):
            browser.get(lambda session: (session.login("ann"), session.update(n=1)))
            browser.get(view)
    assert [record.getMessage().partition(" ended")[0] for record in caplog.records] == ["session.clear()"]


@pytest.mark.parametrize("end", ["flush", "logout"])
def test_a_logout_removes_a_malformed_cookie_too(browser, end):
    response = browser.get(lambda session: getattr(session, end)(), cookie="__Host-id=short")
    assert response.commands == []
    assert "Max-Age=0" in response.headers["Set-Cookie"]


def test_a_logout_ends_the_real_session_behind_many_junk_cookies(browser):
    browser.get(lambda session: session.update(n=1))
    cookie = browser.cookie
    junk = "; ".join(f"__Host-id={letter * 32}" for letter in "abcdefg")
    assert browser.get(lambda session: session.logout(), cookie=f"{junk}; {cookie}").commands == ["delete"] * 8
    assert browser.get(dict, cookie=cookie).result == {}


def test_apps_of_two_namespaces_share_no_session_and_no_owner():
    store = MemoryStore()
    forum, bank = SessionManager(store, namespace="forum"), SessionManager(store, namespace="bank")
    session = log_in(forum, None, "1")
    assert session.owner == "1"
    assert forum.open(session.id).owner == "1"
    assert bank.open(session.id).owner is None
    assert (bank.sessions("1"), bank.revoke_all("1")) == ([], 0)
    assert len(forum.sessions("1")) == 1
    assert SessionManager(store).sessions("1") == []


def test_an_expiry_under_a_moved_id_is_interrupted(manager, visitor):
    log_in(manager, visitor)
    late = manager.open(visitor)
    late.expiry = OnInactivity(timedelta(hours=1))
    with pytest.raises(SessionInterrupted):
        late.save()


def test_the_mark_stays_when_what_comes_after_the_rename_fails(browser, monkeypatch):
    browser.get(lambda session: session.update(n=1))
    old = browser.cookie
    manager = SessionManager(browser.store, max_per_owner=1)

    def fail(owner):
        raise StoreUnavailable("down")

    monkeypatch.setattr(browser.store, "find", fail)
    with pytest.raises(StoreUnavailable):
        log_in(manager, old.partition("=")[2])
    assert browser.get(lambda session: session.update(m=1), cookie=old).status_int == 400


def test_the_second_click_of_a_login_in_a_session_that_has_met_a_rival_logs_in_too(any_store):
    manager = SessionManager(any_store, merges={"n": merge.add})
    session = manager.open()
    session.update(cart=["tea"], n=0)
    session.save()
    rivals = [manager.open(session.id), manager.open(session.id)]
    for each in rivals:
        each["n"] += 1
    for each in rivals:
        each.save()
    clicks = [manager.open(session.id) for _ in range(2)]
    for each in clicks:
        each.login("ann")
        each["n"] = each["n"] + 1
    for each in clicks:
        each.save()
    for each in clicks:
        found = manager.open(each.id)
        assert (found.owner, found["cart"], found["n"]) == ("ann", ["tea"], 3)
