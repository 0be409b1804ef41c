"""With `Sessions(flask_login=True)`, logging in and out is safe without a line in the views."""

import subprocess
import sys

import pytest
from flask import Flask, current_app, flash, get_flashed_messages, request, request_finished, session

from wsgisessions import MemoryStore, SessionInterrupted, SessionManager
from wsgisessions.flask import Sessions

flask_login = pytest.importorskip("flask_login")


class User(flask_login.UserMixin):
    def __init__(self, user_id):
        self.id = user_id


class Visitor:
    """A browser with what it can do on the app, and a look into the store."""

    def __init__(self, app, store):
        self.client = app.test_client()
        self.store = store

    def get(self, path, **options):
        response = self.client.get(path, **options)
        assert response.status_code == 200, response.text
        return response

    def user(self, **options):
        return self.get("/me", **options).text

    def cart(self):
        return self.get("/cart").json

    @property
    def session_id(self):
        cookie = self.client.get_cookie("session")
        return cookie and cookie.value

    @session_id.setter
    def session_id(self, session_id):
        self.client.set_cookie("session", session_id)

    @property
    def is_remembered(self):
        return self.client.get_cookie("remember_token") is not None

    def close_browser(self):
        self.client.delete_cookie("session")

    def stored(self):
        """Return the session as the store has it."""
        return SessionManager(self.store).open(self.session_id)


def make_app(store, **options):
    app = Flask(__name__)
    app.testing = True
    app.secret_key = "for the remember cookie, which Flask-Login signs"
    Sessions(store=store, **options).init_app(app)
    flask_login.LoginManager(app).user_loader(lambda user_id: User(int(user_id)))

    @app.get("/login/<int:user_id>")
    def login(user_id):
        flask_login.login_user(User(user_id), remember="remember" in request.args)
        return ""

    @app.get("/logout")
    def logout():
        flask_login.logout_user()
        flash("Goodbye")
        return ""

    @app.get("/logout-with-a-message-first")
    def logout_with_a_message_first():
        flash("Goodbye")
        session["fs_cc"] = "clear"  # as Flask-Security does, so that its CSRF cookie is removed
        flask_login.logout_user()
        return str(session.pop("fs_cc", None))

    @app.get("/confirm")
    def confirm():
        flask_login.confirm_login()
        return ""

    @app.get("/me")
    def me():
        return str(flask_login.current_user.get_id())

    @app.get("/static-page")
    def static_page():
        return "for everybody"

    @app.get("/fresh")
    def fresh():
        return str(flask_login.login_fresh())

    @app.get("/put/<item>")
    def put(item):
        session.setdefault("cart", []).append(item)
        return ""

    @app.get("/cart")
    def cart():
        return session.get("cart", [])

    @app.get("/flashed")
    def flashed():
        return " ".join(get_flashed_messages())

    @app.get("/sign-out-everywhere")
    def sign_out_everywhere():
        return str(Sessions.manager(current_app).revoke_all(flask_login.current_user.get_id()))

    return app


@pytest.fixture
def memory():
    return MemoryStore()


@pytest.fixture
def app(memory):
    return make_app(memory, flask_login=True)


@pytest.fixture
def visitor(app, memory):
    return Visitor(app, memory)


@pytest.fixture
def attacker(app, memory):
    return Visitor(app, memory)


def test_a_planted_session_id_is_worthless_after_the_login(visitor, attacker):
    attacker.get("/put/bait")
    planted = visitor.session_id = attacker.session_id
    visitor.get("/login/1")
    assert visitor.user() == "1"
    assert visitor.session_id != planted
    assert attacker.stored().is_new
    assert attacker.stored().owner is None
    # Flask-Login notes in the session that the user is not fresh: a write under an ID that has moved.
    with pytest.raises(SessionInterrupted):
        attacker.client.get("/me")


def test_a_planted_session_id_is_worthless_after_the_remember_cookie_logged_in(visitor, attacker):
    visitor.get("/login/1?remember")
    attacker.get("/put/bait")
    planted = visitor.session_id = attacker.session_id
    assert visitor.user() == "1"
    assert visitor.session_id != planted
    assert attacker.stored().is_new
    assert attacker.stored().owner is None
    # Flask-Login notes in the session that the user is not fresh: a write under an ID that has moved.
    with pytest.raises(SessionInterrupted):
        attacker.client.get("/me")


def test_an_invented_session_id_is_never_adopted(visitor):
    visitor.session_id = invented = "A" * 32
    visitor.get("/login/1")
    assert visitor.session_id != invented


def test_what_was_collected_before_the_login_stays(visitor):
    visitor.get("/put/apple")
    visitor.get("/login/1")
    assert visitor.cart() == ["apple"]


def test_the_session_belongs_to_the_user(visitor, attacker, app):
    attacker.get("/login/2")
    visitor.get("/login/1")
    assert visitor.stored().owner == "1"
    assert Sessions.manager(app).revoke_all("1") == 1
    assert visitor.user() == "None"
    assert attacker.user() == "2"


def test_a_user_can_sign_out_everywhere(visitor, app, memory):
    phone = Visitor(app, memory)
    phone.get("/login/1")
    visitor.get("/login/1")
    assert visitor.get("/sign-out-everywhere").text == "2"
    assert (visitor.user(), phone.user()) == ("None", "None")


def test_another_users_login_finds_nothing_of_the_one_before(visitor, memory):
    visitor.get("/login/1")
    visitor.get("/put/secret")
    before = visitor.session_id
    visitor.get("/login/2")
    assert (visitor.user(), visitor.stored().owner, visitor.cart()) == ("2", "2", [])
    assert visitor.get("/fresh").text == "True"
    assert SessionManager(memory).open(before).is_new


def test_another_users_login_may_be_remembered(visitor):
    visitor.get("/login/1")
    visitor.get("/login/2?remember")
    visitor.close_browser()
    assert visitor.user() == "2"


def test_a_logout_ends_the_session(visitor, memory):
    visitor.get("/login/1")
    visitor.get("/put/apple")
    before = visitor.session_id
    visitor.get("/logout")
    assert SessionManager(memory).open(before).is_new
    assert (visitor.user(), visitor.cart()) == ("None", [])
    visitor.session_id = before
    assert visitor.user() == "None"


def test_what_a_view_flashes_before_the_logout_is_shown_after_it(visitor):
    visitor.get("/login/1")
    visitor.get("/put/tea")
    assert visitor.get("/logout-with-a-message-first").text == "clear"
    assert visitor.get("/flashed").text == "Goodbye"
    assert visitor.cart() == []
    assert visitor.user() == "None"


def test_who_was_signed_in_before_the_option_stays_so_and_can_be_signed_out_everywhere(memory):
    before = Visitor(make_app(memory), memory)
    before.get("/login/1")
    before.get("/put/tea")
    old = before.session_id
    visitor = Visitor(make_app(memory, flask_login=True), memory)
    visitor.session_id = old
    assert visitor.user() == "1"
    assert visitor.stored().owner == "1"
    assert visitor.session_id != old
    assert visitor.cart() == ["tea"]
    assert visitor.get("/sign-out-everywhere").text == "1"
    assert visitor.user() == "None"


def test_a_look_at_the_user_when_the_response_is_finished_binds_nobody_and_signs_nobody_out(memory):
    before = Visitor(make_app(memory), memory)
    before.get("/login/1")
    app = make_app(memory, flask_login=True)
    visitor = Visitor(app, memory)
    visitor.session_id = before.session_id

    def audit(sender, response):
        assert flask_login.current_user.is_authenticated

    with request_finished.connected_to(audit, app):
        visitor.get("/static-page")
    assert visitor.session_id == before.session_id
    assert visitor.user() == "1"
    assert visitor.stored().owner == "1"


def test_two_requests_at_once_of_who_was_signed_in_before_the_option(memory):
    before = Visitor(make_app(memory), memory)
    before.get("/login/1")
    app = make_app(memory, flask_login=True)
    first, second = Visitor(app, memory), Visitor(app, memory)
    first.session_id = second.session_id = before.session_id
    assert first.user() == "1"
    assert second.user() == "1"
    assert second.stored().owner == "1"


def test_an_owner_of_the_apps_own_is_left_alone(app, visitor, memory):
    @app.get("/own-login")
    def own_login():
        session.login("the account of user 1")
        session["_user_id"] = "1"  # the user's alternative ID
        return ""

    visitor.get("/own-login")
    assert visitor.user() == "1"
    assert visitor.stored().owner == "the account of user 1"


def test_what_a_view_writes_after_the_logout_goes_into_a_new_session(visitor):
    visitor.get("/login/1")
    before = visitor.session_id
    visitor.get("/logout")
    assert visitor.get("/flashed").text == "Goodbye"
    assert visitor.session_id != before


def test_a_remembered_user_comes_back_when_the_session_is_gone(visitor):
    visitor.get("/login/1?remember")
    visitor.close_browser()
    assert visitor.user() == "1"
    assert visitor.stored().owner == "1"
    assert visitor.get("/fresh").text == "False"


def test_a_user_who_is_not_remembered_does_not_come_back(visitor):
    visitor.get("/login/1")
    visitor.close_browser()
    assert visitor.user() == "None"


def test_a_logout_forgets_a_remembered_user(visitor):
    visitor.get("/login/1?remember")
    assert visitor.is_remembered
    visitor.get("/logout")
    assert not visitor.is_remembered
    assert visitor.user() == "None"
    assert {"_user_id", "_remember"}.isdisjoint(visitor.stored())


def test_a_confirmed_login_changes_the_session_id(visitor):
    visitor.get("/login/1?remember")
    visitor.close_browser()
    visitor.user()
    before = visitor.session_id
    visitor.get("/confirm")
    assert visitor.get("/fresh").text == "True"
    assert visitor.session_id != before


@pytest.mark.parametrize("protection", ["strong", "basic"])
def test_a_stolen_session_id_on_another_browser(app, visitor, attacker, protection):
    app.config["SESSION_PROTECTION"] = protection
    visitor.get("/login/1?remember")
    attacker.session_id = visitor.session_id
    stolen = visitor.stored()
    user = attacker.user(headers={"User-Agent": "another"})
    assert user == {"strong": "None", "basic": "1"}[protection]
    assert SessionManager(visitor.store).open(stolen.id).is_new == (protection == "strong")


def test_strong_protection_leaves_an_anonymous_visitors_session_alone(app, visitor):
    app.config["SESSION_PROTECTION"] = "strong"
    visitor.get("/put/apple")
    assert visitor.user() == "None"
    assert visitor.cart() == ["apple"]
    visitor.get("/login/1")
    assert (visitor.user(), visitor.cart()) == ("1", ["apple"])


def test_without_the_option_a_login_leaves_the_session_alone(app, memory):
    visitor = Visitor(make_app(memory), memory)
    visitor.get("/put/apple")
    before = visitor.session_id
    visitor.get("/login/1")
    assert visitor.session_id == before
    assert visitor.stored().owner is None


def test_without_flask_login_the_option_says_what_to_install():
    code = (
        "import sys; sys.modules['flask_login'] = None; from flask import Flask; from wsgisessions import MemoryStore;"
        " from wsgisessions.flask import Sessions; Sessions(Flask('a'), MemoryStore());"
        " Sessions(Flask('b'), MemoryStore(), flask_login=True)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.strip().endswith("ImportError: flask_login=True needs Flask-Login: pip install flask-login")
