"""What a commit does: one test for each row of the table in docs/commit.md."""

from datetime import timedelta

import pytest

from wsgisessions import OnInactivity, OnSessionEnd, SessionInterrupted, SessionManager, get_session


def fill(session):
    session["a"] = 1
    session["b"] = [1]


@pytest.fixture
def visitor(browser):
    browser.get(fill)
    return browser


def session_headers(response):
    return {
        name: response.headers.get(name) for name in ("Set-Cookie", "Vary", "Cache-Control") if name in response.headers
    }


def test_an_untouched_session_costs_nothing(visitor):
    response = visitor.get()
    assert response.commands == []
    assert session_headers(response) == {}


def test_a_read_without_a_cookie_asks_no_store(browser):
    response = browser.get(lambda session: session.get("a"))
    assert response.commands == []
    assert session_headers(response) == {"Vary": "Cookie"}


def test_a_read_of_a_live_session_is_one_load(visitor):
    response = visitor.get(lambda session: (session["a"], session["b"], session.get("c")))
    assert response.result == (1, [1], None)
    assert response.commands == ["load"]
    assert session_headers(response) == {"Vary": "Cookie"}


def test_a_read_of_an_unknown_id_leaves_the_cookie_alone(browser):
    response = browser.get(lambda session: session.get("a"), cookie="__Host-id=" + "x" * 32)
    assert response.commands == ["load", "load"]  # the second asks for the mark of a session that has moved
    assert session_headers(response) == {"Vary": "Cookie"}


def test_a_malformed_id_never_reaches_the_store(browser):
    response = browser.get(lambda session: session.get("a"), cookie="__Host-id=short")
    assert response.commands == []
    assert session_headers(response) == {"Vary": "Cookie"}


def test_a_write_without_a_cookie_creates_a_session(browser):
    response = browser.get(fill)
    assert response.commands == ["create"]
    assert response.headers["Vary"] == "Cookie"
    assert response.headers["Cache-Control"] == 'no-cache="Set-Cookie"'
    assert response.headers["Set-Cookie"] == (f"__Host-id={browser.session_id}; Secure; HttpOnly; Path=/; SameSite=Lax")


def test_the_apps_own_cache_control_stays(browser):
    response = browser.get(fill, headers=[("Cache-Control", "private")])
    assert response.headers.getall("Cache-Control") == ["private"]


@pytest.mark.parametrize("vary", ["Cookie", "accept, cookie", "*"])
def test_a_vary_that_covers_the_cookie_stays_alone(visitor, vary):
    response = visitor.get(lambda session: session["a"], headers=[("Vary", vary)])
    assert response.headers.getall("Vary") == [vary]


@pytest.mark.parametrize("theirs", [[("Vary", "Accept, Origin")], [("vary", "Accept"), ("Vary", "Origin,")]])
def test_another_vary_is_kept_in_one_field_with_ours(visitor, theirs):
    response = visitor.get(lambda session: session["a"], headers=theirs)
    assert response.headers.getall("Vary") == ["Accept, Origin, Cookie"]


LOOKS = {
    "in": lambda session: "a" in session,
    "len": len,
    "bool": bool,
    "iteration": list,
    "items": lambda session: list(session.items()),
    "is_new": lambda session: session.is_new,
    "id": lambda session: session.id,
    "owner": lambda session: session.owner,
}


@pytest.mark.parametrize("look", LOOKS)
def test_any_look_inside_says_vary(visitor, look):
    assert visitor.get(LOOKS[look]).headers["Vary"] == "Cookie"


def test_a_write_to_a_live_session_is_one_load_and_one_update_of_its_key(visitor):
    def view(session):
        session["a"] = 2

    response = visitor.get(view)
    assert response.commands == ["load", "update"]
    assert visitor.store.patches[-1].set == {"a": "2"}
    assert session_headers(response) == {"Vary": "Cookie"}


def test_one_changed_key_of_64_travels_alone(browser):
    browser.get(lambda session: session.update({f"key{number}": "x" * 1024 for number in range(64)}))

    def view(session):
        session["key7"] += "y"
        assert all(session.values())

    browser.get(view)
    (patch,) = browser.store.patches
    assert list(patch.set) == ["key7"]
    assert not patch.remove


def test_assigning_equal_values_is_no_change(visitor):
    response = visitor.get(fill)
    assert response.commands == ["load"]
    assert session_headers(response) == {"Vary": "Cookie"}


def test_popping_the_last_key_deletes_the_session_if_it_is_still_empty(visitor):
    def view(session):
        del session["a"]
        session.pop("b")

    response = visitor.get(view)
    assert response.commands == ["load", "update", "delete if empty"]
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert visitor.cookie == ""


def test_an_expiry_of_its_own_does_not_keep_an_empty_session(visitor):
    def lasts(session):
        session.expiry = OnInactivity(timedelta(days=7))

    visitor.get(lasts)
    emptied = visitor.get(lambda session: [session.pop(key) for key in list(session)])
    assert emptied.commands == ["load", "update", "delete if empty"]
    assert visitor.cookie == ""
    visitor.get(lambda session: session.update(n=1))
    assert visitor.get(lambda session: session.expiry).result == OnSessionEnd()


def test_popping_the_last_key_spares_what_another_request_adds(visitor):
    cookie = visitor.cookie
    manager = SessionManager(visitor.store)

    def view(session):
        session.pop("a")
        session.pop("b")
        other = manager.open(visitor.session_id)
        other["c"] = 3
        other.save()

    response = visitor.get(view)
    assert "Set-Cookie" not in response.headers
    assert visitor.get(dict, cookie=cookie).result == {"c": 3}


def test_clear_drops_what_another_request_adds_too(visitor):
    def view(session):
        session.clear()
        session["z"] = 1
        other = SessionManager(visitor.store).open(visitor.session_id)
        other["c"] = 3
        other.save()

    visitor.get(view)
    assert visitor.get(dict).result == {"z": 1}


def test_cycle_id_is_a_mark_and_a_rename(visitor):
    old = visitor.cookie

    def view(session):
        assert session["a"] == 1
        session.cycle_id()
        session["a"] = 2

    response = visitor.get(view)
    assert response.commands == ["load", "create", "rename"]
    assert visitor.cookie not in ("", old)
    assert visitor.get(dict).result == {"a": 2, "b": [1]}
    assert visitor.get(dict, cookie=old).result == {}


def test_cycle_id_of_a_new_session_is_nothing(browser):
    response = browser.get(lambda session: session.cycle_id())
    assert response.commands == []
    assert "Set-Cookie" not in response.headers


def test_flush_is_one_delete(visitor):
    response = visitor.get(lambda session: session.flush())
    assert response.commands == ["delete"]
    assert response.headers["Set-Cookie"].startswith("__Host-id=; ")
    for attribute in ("Max-Age=0", "Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert attribute in response.headers["Set-Cookie"]


def test_a_write_after_flush_starts_another_session(visitor):
    old = visitor.cookie

    def view(session):
        session.flush()
        assert session.id is None
        assert session.is_empty
        session["new"] = True

    response = visitor.get(view)
    assert response.commands == ["delete", "create"]
    assert visitor.cookie != old
    assert visitor.get(dict).result == {"new": True}


def test_a_clients_id_is_never_adopted(browser):
    planted = "p" * 32
    browser.get(fill, cookie=f"__Host-id={planted}")
    assert browser.session_id not in ("", planted)
    assert browser.get(dict, cookie=f"__Host-id={planted}").result == {}


def test_an_empty_session_is_not_stored(browser):
    def view(session):
        session["a"] = 1
        del session["a"]
        session.save()

    response = browser.get(view)
    assert response.commands == []
    assert session_headers(response) == {"Vary": "Cookie"}


@pytest.mark.parametrize("position", [0, 1, 2])
def test_the_live_one_of_several_cookies_is_found(visitor, position):
    cookies = ["__Host-id=" + "x" * 32, "__Host-id=" + "y" * 32]
    cookies.insert(position, visitor.cookie)
    response = visitor.get(lambda session: session["a"], cookie="; ".join(cookies))
    assert response.result == 1
    assert response.commands == ["load"] * (position + 1)
    assert "Set-Cookie" not in response.headers


def test_a_logout_ends_all_that_the_browser_presents(visitor):
    other = SessionManager(visitor.store).open()
    other["theirs"] = 1
    other.save()
    cookies = f"{visitor.cookie}; __Host-id={other.id}"
    visitor.store.taken()

    def log_out(session):
        session.get("a")
        session.logout()

    assert visitor.get(log_out, cookie=cookies).commands == ["load", "delete", "delete"]
    assert visitor.get(dict, cookie=cookies).result == {}


def test_three_of_many_cookies_are_tried_at_most(visitor):
    cookies = "; ".join(f"__Host-id={letter * 32}" for letter in "abcdefgh")
    assert visitor.get(len, cookie=f"__Host-id=short; {cookies}; {visitor.cookie}").commands == ["load"] * 6


def test_a_server_error_saves_no_data(visitor):
    response = visitor.get(lambda session: session.update(a=2), status="500 Internal Server Error")
    assert response.commands == []
    assert visitor.get(dict).result["a"] == 1


def test_a_client_error_saves_data(visitor):
    visitor.get(lambda session: session.update(a=2), status="404 Not Found")
    assert visitor.get(dict).result["a"] == 2


def test_a_flush_happens_on_a_server_error(visitor):
    old = visitor.cookie
    response = visitor.get(lambda session: session.logout(), status="503 Service Unavailable")
    assert response.commands == ["delete"]
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert visitor.get(dict, cookie=old).result == {}


def test_a_flush_happens_when_the_app_raises(visitor):
    def view(session):
        session.logout()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        visitor.get(view)
    assert visitor.store.taken() == ["delete"]


def test_a_cycle_goes_through_on_a_server_error_without_data(visitor):
    old = visitor.cookie

    def view(session):
        session["a"] = 2
        session.cycle_id()

    visitor.get(view, status="500 Internal Server Error")
    assert visitor.cookie not in ("", old)
    assert visitor.get(dict).result["a"] == 1
    assert visitor.get(dict, cookie=old).result == {}


def test_a_cycle_is_dropped_when_the_app_raises(visitor):
    def view(session):
        session.cycle_id()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        visitor.get(view)
    assert visitor.get(dict).result["a"] == 1


def test_a_login_on_a_server_error_binds_nobody(visitor):
    visitor.get(lambda session: session.login("ann"), status="500 Internal Server Error")
    assert visitor.get(lambda session: session.owner).result is None


def test_the_cookie_and_the_record_have_one_deadline(make_browser):
    browser = make_browser(expiry=OnInactivity(timedelta(minutes=30)))
    response = browser.get(lambda session: (session.update(a=1), session.save(), session.expires_in)[-1])
    assert timedelta(minutes=29, seconds=59) < response.result <= timedelta(minutes=30)
    assert "Max-Age=1800" in response.headers["Set-Cookie"]


def test_save_creates_at_once_and_the_cookie_still_leaves(browser):
    def view(session):
        session["a"] = 1
        assert session.id is None
        session.save()
        return session.id

    response = browser.get(view)
    assert response.result == browser.session_id
    assert response.commands == ["create"]


def test_keys_that_are_removed_from_a_session_that_another_request_ended_are_removed(browser):
    browser.get(lambda session: session.update(n=1))

    def view(session):
        assert session.pop("n") == 1
        other = SessionManager(browser.store).open(browser.session_id)
        other.pop("n")
        other.save()

    response = browser.get(view)
    assert (response.status, response.headers.getall("Set-Cookie")) == ("200 OK", [])
    assert browser.get(dict).result == {}


def test_nothing_else_comes_back_with_them(browser):
    browser.get(lambda session: session.update(n=1, m=2))

    def view(session):
        session["m"] = session.pop("n") + 1  # as it is
        other = SessionManager(browser.store).open(browser.session_id)
        other.flush()
        other.save()

    assert browser.get(view).commands[-2:] == ["update", "load"]
    assert browser.get(dict).result == {}


def test_with_a_new_expiry_that_is_interrupted(browser):
    browser.get(lambda session: session.update(n=1))

    def view(session):
        session.pop("n")
        session.expiry = OnInactivity(timedelta(hours=1))
        other = SessionManager(browser.store).open(browser.session_id)
        other.flush()
        other.save()

    assert browser.get(view).status == "400 Bad Request"


def test_a_job_that_removes_keys_of_a_session_that_was_ended_starts_none_afterwards(make_recording_store):
    manager = SessionManager(make_recording_store())
    session = manager.open()
    session["n"] = 1
    session.save()
    job, other = manager.open(session.id), manager.open(session.id)
    job.pop("n")
    other.flush()
    other.save()
    job.save()
    job["n"] = 2
    with pytest.raises(SessionInterrupted):
        job.save()


def log_out_elsewhere(browser):
    other = SessionManager(browser.store).open(browser.session_id)
    other.flush()
    other.save()


def test_what_was_read_stays_readable_beside_the_keys_that_were_removed(browser):
    browser.get(lambda session: session.update(name="ann", message="hello"))

    def app(environ, start_response):
        session = get_session(environ)
        session.pop("message")
        log_out_elsewhere(browser)
        start_response("200 OK", [("Content-Type", "text/plain")])

        def chunks():
            yield b"hello "
            yield session["name"].encode()

        return chunks()

    response = browser.run(app)
    assert response.body == b"hello ann"
    assert browser.get(dict).result == {}


@pytest.mark.parametrize(
    "write",
    [
        lambda session, cart: session.update(role="admin of " + session["name"]),
        lambda session, cart: cart.append("pot"),
        lambda session, cart: setattr(session, "expiry", OnInactivity(timedelta(hours=1))),
        lambda session, cart: session.login("ann"),
    ],
    ids=["assignment", "nested", "expiry", "login"],
)
def test_what_is_written_after_them_is_interrupted_and_starts_no_session(browser, write):
    browser.get(lambda session: session.update(name="ann", message="hello", cart=["tea"]))

    def view(session):
        cart = session["cart"]
        session.pop("message")
        log_out_elsewhere(browser)
        session.save()
        write(session, cart)

    response = browser.get(view)
    assert (response.status, response.headers.getall("Set-Cookie")) == ("400 Bad Request", [])
    assert browser.get(dict).result == {}
