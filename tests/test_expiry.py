"""When a session ends: idle and absolute limits, the throttled touch, and one session's own limit."""

from datetime import datetime, timedelta, timezone

import pytest

from wsgisessions import (
    AtDateTime,
    CachingStore,
    ConfigurationError,
    MemoryStore,
    OnInactivity,
    OnSessionEnd,
    SessionManager,
    SQLiteStore,
    get_session,
)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "sqlite"])
def open_session(request, clock, tmp_path):
    """Return a function that opens sessions under an expiry, on the manual clock."""
    store = MemoryStore(clock=clock) if request.param == "memory" else SQLiteStore(tmp_path / "s.db", clock=clock)

    def open_session(expiry, session_id=None):
        return SessionManager(store, expiry=expiry, clock=clock).open(session_id)

    yield open_session
    store.close()


def start(open_session, expiry):
    session = open_session(expiry)
    session["a"] = 1
    session.save()
    return session.id


def visit(open_session, expiry, session_id):
    session = open_session(expiry, session_id)
    found = not session.is_new
    session.save()
    return found


def test_an_idle_session_ends(open_session, clock):
    expiry = OnInactivity(30 * MINUTE)
    session_id = start(open_session, expiry)
    clock.advance(29 * MINUTE)
    assert visit(open_session, expiry, session_id)
    clock.advance(29 * MINUTE)
    assert visit(open_session, expiry, session_id)
    clock.advance(30 * MINUTE)
    assert not visit(open_session, expiry, session_id)


def test_a_touch_that_the_cookie_could_not_follow_is_put_off(make_browser, clock):
    browser = make_browser(store=MemoryStore(clock=clock), expiry=OnInactivity(30 * MINUTE), clock=clock)
    browser.get(lambda session: session.update(n=1))

    def download(environ, start_response):
        session = get_session(environ)
        assert session["n"] == 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"begun"
        clock.advance(29 * MINUTE)

    browser.run(download)
    clock.advance(MINUTE / 2)
    assert "Max-Age=1800" in browser.get(dict).headers["Set-Cookie"]


def test_an_active_session_ends_at_its_absolute_limit(open_session, clock):
    expiry = OnInactivity(30 * MINUTE, absolute=2 * HOUR)
    session_id = start(open_session, expiry)
    for _ in range(5):
        clock.advance(20 * MINUTE)
        assert visit(open_session, expiry, session_id)
    assert open_session(expiry, session_id).expires_in == 20 * MINUTE
    clock.advance(20 * MINUTE)
    assert not visit(open_session, expiry, session_id)


def test_a_session_of_the_browser_ends_after_two_weeks_on_the_server(open_session, clock):
    session_id = start(open_session, OnSessionEnd())
    clock.advance(timedelta(days=13, hours=23))
    assert visit(open_session, OnSessionEnd(), session_id)
    clock.advance(timedelta(days=14))
    assert not visit(open_session, OnSessionEnd(), session_id)


def test_a_fixed_instant_does_not_move(open_session, clock):
    at = AtDateTime(datetime(2030, 1, 1, 6, tzinfo=timezone(timedelta(hours=5))))
    session_id = start(open_session, at)
    clock.advance(59 * MINUTE)
    assert visit(open_session, at, session_id)
    clock.advance(MINUTE)
    assert not visit(open_session, at, session_id)


def test_a_touch_is_put_off_until_a_tenth_of_the_idle_time(browser_on, clock):
    browser = browser_on(OnInactivity(100 * MINUTE))
    browser.get(lambda session: session.update(a=1))
    clock.advance(9 * MINUTE)
    response = browser.get(len)
    assert response.commands == ["load"]
    assert "Set-Cookie" not in response.headers
    clock.advance(MINUTE)
    response = browser.get(len)
    assert response.commands == ["load", "update"]
    assert "Max-Age=6000" in response.headers["Set-Cookie"]
    assert browser.store.patches[-1].set == {}


def test_a_write_carries_a_touch_that_is_due(browser_on, clock):
    browser = browser_on(OnInactivity(100 * MINUTE))
    browser.get(lambda session: session.update(a=1))
    clock.advance(10 * MINUTE)
    response = browser.get(lambda session: session.update(a=2))
    assert response.commands == ["load", "update"]
    assert "Max-Age=6000" in response.headers["Set-Cookie"]


def test_a_touched_cookie_of_the_browser_session_is_not_sent_again(browser_on, clock):
    browser = browser_on(OnSessionEnd(100 * MINUTE))
    browser.get(lambda session: session.update(a=1))
    clock.advance(50 * MINUTE)
    response = browser.get(len)
    assert response.commands == ["load", "update"]
    assert "Set-Cookie" not in response.headers


def test_one_session_may_have_its_own_limit_for_good(browser_on, clock):
    browser = browser_on(OnSessionEnd(HOUR))

    def stay_signed_in(session):
        session["a"] = 1
        session.expiry = OnInactivity(timedelta(days=30))

    response = browser.get(stay_signed_in)
    assert "Max-Age=2592000" in response.headers["Set-Cookie"]
    clock.advance(timedelta(days=29))
    response = browser.get(lambda session: (dict(session), session.expiry))
    assert response.result == ({"a": 1}, OnInactivity(timedelta(days=30)))
    assert "Max-Age=2592000" in response.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "expiry",
    [
        OnInactivity(HOUR),
        OnInactivity(HOUR, absolute=2 * HOUR),
        OnSessionEnd(HOUR, absolute=timedelta(days=400)),
        AtDateTime(datetime(2031, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_every_limit_of_one_session_is_kept(open_session, expiry):
    session = open_session(OnSessionEnd())
    session["a"] = 1
    session.save()
    session = open_session(OnSessionEnd(), session.id)
    session.expiry = expiry
    session.save()
    assert open_session(OnSessionEnd(), session.id).expiry == expiry
    session = open_session(OnSessionEnd(), session.id)
    session.pop("a")
    session["b"] = 1
    session.save()
    again = open_session(OnSessionEnd(), session.id)
    assert (again.expiry, dict(again)) == (expiry, {"b": 1})
    again.clear()
    again["c"] = 1
    again.save()
    assert open_session(OnSessionEnd(), again.id).expiry == OnSessionEnd()


def test_a_limit_set_to_end_with_the_browser_takes_the_max_age_away(browser_on):
    browser = browser_on(OnInactivity(HOUR))
    browser.get(lambda session: session.update(a=1))
    response = browser.get(lambda session: setattr(session, "expiry", OnSessionEnd(HOUR)))
    assert "Max-Age" not in response.headers["Set-Cookie"]


def test_expires_in_counts_down_and_follows_a_new_limit(open_session, clock):
    session_id = start(open_session, OnInactivity(30 * MINUTE))
    clock.advance(MINUTE)
    session = open_session(OnInactivity(30 * MINUTE), session_id)
    assert session.expires_in == 29 * MINUTE
    session.expiry = OnInactivity(HOUR)
    assert session.expires_in == HOUR


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OnInactivity(timedelta(0)), "longer than zero"),
        (lambda: OnInactivity(-MINUTE), "longer than zero"),
        (lambda: OnInactivity(1800), r"timedelta\(minutes=30\)"),
        (lambda: OnInactivity(MINUTE, absolute=-MINUTE), "longer than zero"),
        (lambda: OnSessionEnd(timedelta(0)), "longer than zero"),
        (lambda: AtDateTime(datetime(2030, 1, 1)), "aware datetime"),
        (lambda: AtDateTime("2030"), "aware datetime"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.fixture
def browser_on(make_browser, make_recording_store, clock, monkeypatch):
    """Return a maker of browsers on the manual clock."""

    def make(expiry):
        return make_browser(make_recording_store(clock=clock), expiry=expiry, clock=clock)

    return make


EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))


@pytest.mark.parametrize(
    "expiry",
    [
        OnInactivity(timedelta.max),
        OnInactivity(timedelta.max, absolute=timedelta.max),
        OnInactivity(HOUR * 10**8, absolute=timedelta.max),
        OnSessionEnd(timedelta.max),
        OnInactivity(datetime(9999, 6, 1) - datetime(2030, 1, 1)),
        *(AtDateTime(datetime.max.replace(tzinfo=zone)) for zone in (EAST, timezone.utc, WEST)),
    ],
)
def test_the_end_of_time_is_never(open_session, clock, expiry):
    session = open_session(OnInactivity(HOUR))
    session["n"] = 1
    session.expiry = expiry
    session.save()
    clock.advance(timedelta(days=365 * 100))
    again = open_session(OnInactivity(HOUR), session.id)
    assert again["n"] == 1
    assert again.expiry == expiry
    assert again.expires_at.astimezone(EAST).year == again.expires_at.astimezone(WEST).year + 1 == 9999
    again["n"] = 2
    again.save()
    assert again.expires_in > timedelta(days=365 * 7000)


@pytest.mark.parametrize("zone", [EAST, timezone.utc, WEST])
def test_the_beginning_of_time_is_over(open_session, zone):
    session = open_session(AtDateTime(datetime.min.replace(tzinfo=zone)))
    session["n"] = 1
    session.save()
    assert open_session(OnSessionEnd(), session.id).is_new


def test_a_session_that_never_ends_has_a_cookie(make_browser):
    browser = make_browser(expiry=OnInactivity(timedelta.max))
    browser.get(lambda session: session.update(n=1))
    assert browser.get(dict).result == {"n": 1}


@pytest.mark.parametrize("moment", [datetime(2030, 1, 1), datetime(2030, 1, 1, tzinfo=EAST), 1893456000])
def test_a_clock_that_is_not_in_utc_is_refused_at_once(moment):
    with pytest.raises(ConfigurationError, match="aware datetime in UTC"):
        SessionManager(MemoryStore(), clock=lambda: moment)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 1e300, -1])
def test_a_lock_for_no_time_or_for_ever_is_refused_in_its_line(browser, seconds):
    def view(session):
        for times in ({"timeout": seconds}, {"lease": seconds}):
            with pytest.raises(ConfigurationError, match="seconds"), session.lock(**times):
                pass

    browser.get(view)


def test_a_purge_once_in_an_age_is_refused_at_once():
    with pytest.raises(ConfigurationError, match="a year at most"):
        SessionManager(MemoryStore()).purge(every=timedelta.max)


def test_a_copy_that_is_kept_for_an_age_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigurationError, match="a year at most"):
        CachingStore(MemoryStore(), SQLiteStore(tmp_path / "s.db"), max_age=timedelta.max)


def test_a_request_may_leave_the_end_where_it_is_and_any_may_put_it_off(make_browser, clock):
    browser = make_browser(expiry=OnInactivity(HOUR), clock=clock)
    browser.get(lambda session: session.update(n=1))
    clock.advance(HOUR / 2)
    poll = browser.get(lambda session: (setattr(session, "renews_on_read", False), session["n"]))
    assert "Set-Cookie" not in poll.headers
    assert "Max-Age=3600" in browser.get(lambda session: bool(session)).headers["Set-Cookie"]
