"""What real libraries put into a session comes back."""

import datetime
import subprocess
import sys
from textwrap import dedent

import pytest
from flask import Flask, flash, get_flashed_messages, render_template_string, session
from markupsafe import Markup

from wsgisessions import JSONCodec, MemoryStore, SessionManager
from wsgisessions.flask import Sessions

codec = JSONCodec()


def round_trip(value):
    return codec.decode(codec.encode(value))


@pytest.fixture
def app():
    app = Flask(__name__)
    app.testing = True
    app.secret_key = "a secret key"
    Sessions(app, MemoryStore())
    app.add_url_rule("/", "home", view_func=lambda: render_template_string("{{ get_flashed_messages() | join('|') }}"))
    app.add_url_rule("/session", "session", view_func=lambda: {key: type(session[key]).__name__ for key in session})
    return app


def visit(app, view, path="/view"):
    """Let a new visitor see a view, and return the test client."""
    app.add_url_rule(path, path, view)
    client = app.test_client()
    response = client.get(path, base_url="https://localhost")
    assert response.status_code == 200
    return client


def read(client, path="/"):
    return client.get(path, base_url="https://localhost").get_data(as_text=True)


# --- lazy translations


class GermanAtFirst:
    """A visitor whose language is another one when the response is committed."""

    def __init__(self):
        self.language = "de"

    def text(self, name="x"):
        return {"de": f"Hallo {name}", "en": f"Hello {name}"}[self.language]


def test_flask_babels_lazy_strings_in_flash(app):
    flask_babel = pytest.importorskip("flask_babel")
    flask_babel.Babel(app, default_locale="en")

    def view():
        with flask_babel.force_locale("de"):
            flash(flask_babel.lazy_gettext("Hello %(name)s", name="Ann"))
            flash(Markup("<b>%s</b>") % flask_babel.lazy_gettext("bold"))
            session["lazy"] = {"nested": [flask_babel.lazy_ngettext("%(num)s apple", "%(num)s apples", 2)]}
        return "ok"

    client = visit(app, view)
    assert read(client, "/session") == '{"_flashes":"list","lazy":"dict"}\n'
    assert read(client) == "Hello Ann|<b>bold</b>"
    with client:
        read(client)
        assert session["lazy"] == {"nested": [Markup("2 apples")]}
        assert type(session["lazy"]["nested"][0]) is Markup


@pytest.mark.parametrize("nested", [lambda lazy: lazy, lambda lazy: [(lazy, {"a": lazy})], lambda lazy: {7: lazy}])
@pytest.mark.parametrize("library", ["flask_babel", "speaklater", "babel"])
def test_a_lazy_string_is_rendered_in_the_line_that_assigns(library, nested):
    """The middleware commits when the app's context, and so the visitor's language, is gone."""
    visitor = GermanAtFirst()
    if library == "flask_babel":
        lazy = pytest.importorskip("flask_babel.speaklater").LazyString(visitor.text, name="Ann")
        expected = Markup("Hallo Ann")
    elif library == "speaklater":
        lazy = pytest.importorskip("speaklater").make_lazy_string(visitor.text, name="Ann")
        expected = "Hallo Ann"
    else:
        lazy = pytest.importorskip("babel.support").LazyProxy(visitor.text, name="Ann", enable_cache=False)
        expected = "Hallo Ann"
    current = SessionManager(MemoryStore())
    session = current.open()
    session["lazy"] = value = nested(lazy)
    visitor.language = "en"
    session.save()
    assert not session.is_modified
    later = current.open(session.id)
    assert later["lazy"] == nested(expected)
    if nested(1) == 1:
        assert type(later["lazy"]) is type(expected)
    # Assigned anew, it is what it shows then.
    session["lazy"] = value
    session.save()
    assert current.open(session.id)["lazy"] == nested(type(expected)("Hello Ann"))


def test_what_was_added_to_a_list_beside_a_lazy_string_is_saved():
    speaklater = pytest.importorskip("speaklater")
    visitor = GermanAtFirst()
    manager = SessionManager(MemoryStore())
    session = manager.open()
    messages = [speaklater.make_lazy_string(visitor.text)]
    session["messages"] = messages
    visitor.language = "en"
    messages.append(speaklater.make_lazy_string(visitor.text))
    session.save()
    assert manager.open(session.id)["messages"] == ["Hallo x", "Hello x"]


def test_a_lazy_string_that_is_markup_when_it_is_shown_is_markup():
    speaklater = pytest.importorskip("speaklater")
    back = round_trip([speaklater.make_lazy_string(lambda: Markup("<b>"))])
    assert back == [Markup("<b>")]
    assert type(back[0]) is Markup


def test_djangos_lazy_translations_and_safe_strings():
    pytest.importorskip("django")
    script = """
        from django.conf import settings
        settings.configure(USE_I18N=True, LANGUAGE_CODE="en")
        import django
        django.setup()
        from django.utils.functional import lazy
        from django.utils.safestring import SafeString, mark_safe
        from django.utils.translation import gettext_lazy, override
        from wsgisessions import MemoryStore, SessionManager
        manager = SessionManager(MemoryStore())
        session = manager.open()
        with override("de"):
            safe = lambda: mark_safe("<i>")
            session["lazy"] = [gettext_lazy("Monday"), mark_safe("<b>"), lazy(safe, SafeString)(), lazy(safe, str)()]
            session["table"] = {gettext_lazy("Tuesday"): 1}
        session.save()
        later = manager.open(session.id)
        print([(type(each).__name__, str(each)) for each in later["lazy"]], later["table"])
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=False)
    assert (
        done.stdout == "[('str', 'Montag'), ('Markup', '<b>'), ('Markup', '<i>'), ('Markup', '<i>')] {'Dienstag': 1}\n"
    ), done.stderr


def test_wtforms_data_and_errors_with_lazy_messages(app):
    wtforms = pytest.importorskip("wtforms")
    flask_babel = pytest.importorskip("flask_babel")
    flask_babel.Babel(app)
    lazy_gettext = flask_babel.lazy_gettext
    from werkzeug.datastructures import MultiDict

    class Form(wtforms.Form):
        name = wtforms.StringField(validators=[wtforms.validators.InputRequired(lazy_gettext("Who are you?"))])
        born = wtforms.DateField()
        price = wtforms.DecimalField()

        def validate(self):
            valid = super().validate()
            self.form_errors.append(lazy_gettext("Something is wrong"))
            return valid

    def view():
        form = Form(MultiDict({"born": "2030-01-01", "price": "1.50"}))
        form.validate()
        session.update(data=form.data, errors=form.errors, field=form.born)
        return "ok"

    client = visit(app, view)
    with client:
        read(client)
        assert session["data"]["born"] == datetime.date(2030, 1, 1)
        assert str(session["data"]["price"]) == "1.50"
        assert session["errors"]["name"] == ["Who are you?"]
        # Under None, or "" in a later WTForms.
        assert list(session["errors"].values())[1:] == [["Something is wrong"]]
        assert session["field"].startswith("<input")


# --- tokens


def test_flask_dances_token(app):
    flask_dance = pytest.importorskip("flask_dance.consumer")
    from oauthlib.oauth2 import WebApplicationClient

    blueprint = flask_dance.OAuth2ConsumerBlueprint("shop", __name__, client_id="shop", base_url="https://example.org")
    app.register_blueprint(blueprint)
    answer = '{"access_token": "abc", "token_type": "Bearer", "expires_in": 3600, "scope": "read write"}'

    def view():
        blueprint.token = WebApplicationClient("shop").parse_request_body_response(answer)
        return "ok"

    def use():
        assert blueprint.session.authorized
        assert blueprint.session.token["scope"] == ["read", "write"]
        session["shop_oauth_token"]["access_token"] = "refreshed"
        return "ok"

    app.add_url_rule("/use", "use", view_func=use)
    client = visit(app, view)
    assert read(client, "/use") == "ok"
    with client:
        read(client)
        assert session["shop_oauth_token"]["access_token"] == "refreshed"


def test_authlibs_tokens_of_both_versions(app):
    pytest.importorskip("authlib")
    from authlib.integrations.requests_client import OAuth1Session
    from authlib.oauth2.rfc6749 import OAuth2Token

    def view():
        session["one"] = OAuth1Session("shop", "secret").parse_response_token(200, "oauth_token=a&oauth_token_secret=b")
        session["two"] = token = OAuth2Token.from_dict({"access_token": "abc", "expires_in": 60})
        token["userinfo"] = {"sub": "ann"}
        return "ok"

    client = visit(app, view)
    with client:
        read(client)
        assert session["one"] == {"oauth_token": "a", "oauth_token_secret": "b"}
        token = OAuth2Token.from_dict(session["two"])
        assert token["userinfo"] == {"sub": "ann"}
        assert token.is_expired(leeway=0) is False


# --- messages


def test_flask_admins_flash(app, tmp_path):
    pytest.importorskip("flask_babel").Babel(app)
    flask_admin = pytest.importorskip("flask_admin")
    from flask_admin.contrib.fileadmin import FileAdmin

    admin = flask_admin.Admin(app)
    admin.add_view(FileAdmin(tmp_path, name="Files", endpoint="files"))
    client = app.test_client()
    response = client.post("/admin/files/mkdir/", data={"name": "new"}, base_url="https://localhost")
    assert response.status_code == 302
    assert (tmp_path / "new").is_dir()
    assert read(client) == "Successfully created directory: new"


def test_flask_appbuilders_markup_of_a_lazy_string(app):
    """As FAB's security views flash it."""
    flask_babel = pytest.importorskip("flask_babel")
    flask_babel.Babel(app)

    def view():
        flash(Markup(flask_babel.lazy_gettext("Access is <b>denied</b>")), "danger")  # noqa: S704 -- as they do
        return "ok"

    app.add_url_rule("/all", "all", view_func=lambda: repr(get_flashed_messages(with_categories=True)))
    client = visit(app, view)
    assert read(client, "/all") == "[('danger', Markup('Access is <b>denied</b>'))]"


# --- time


def test_freezeguns_datetimes():
    freezegun = pytest.importorskip("freezegun")
    manager = SessionManager(MemoryStore())
    session = manager.open()
    with freezegun.freeze_time("2030-01-02 03:04:05", tz_offset=0):
        moment = datetime.datetime.now(datetime.timezone.utc)
        assert type(moment).__name__ == "FakeDatetime"
        session.update(at=moment, day=datetime.date.today(), table={datetime.date.today(): [moment]})
    session.save()
    later = manager.open(session.id)
    assert type(later["at"]) is datetime.datetime
    assert type(later["day"]) is datetime.date
    assert later["table"] == {datetime.date(2030, 1, 2): [later["at"]]}
    assert later["at"].isoformat() == "2030-01-02T03:04:05+00:00"


def test_typed_reads_while_freezegun_has_frozen_the_clock():
    freezegun = pytest.importorskip("freezegun")
    session = SessionManager(MemoryStore()).open()
    with freezegun.freeze_time("2030-01-02"):
        session["at"] = datetime.datetime.now()
        session["day"] = datetime.date.today()
        assert session.get("at", type=datetime.datetime) == datetime.datetime(2030, 1, 2)
        assert session.get("day", type=datetime.date) == datetime.date(2030, 1, 2)


def test_time_machines_datetimes():
    time_machine = pytest.importorskip("time_machine")
    with time_machine.travel(datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone.utc), tick=False):
        moment = datetime.datetime.now(datetime.timezone.utc)
        assert round_trip(moment) == datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone.utc)


# --- numbers


def test_numpys_scalars():
    numpy = pytest.importorskip("numpy")
    back = round_trip([numpy.int64(5), numpy.uint8(5), numpy.float64(1.5), numpy.float32(0.5), {numpy.int32(7): 1}])
    assert back == [5, 5, 1.5, 0.5, {7: 1}]
    assert [type(each) for each in back] == [int, int, float, float, dict]
    assert [type(each) for each in back[-1]] == [int]
    assert type(round_trip(numpy.str_("a"))) is str
    for refused in (numpy.array([1]), numpy.bool_(True), numpy.complex128(1)):
        with pytest.raises(TypeError, match="which a session does not keep"):
            codec.encode(refused)


def test_neither_of_them_is_imported_for_it():
    script = """
        import sys
        from wsgisessions import MemoryStore, SessionManager
        from dataclasses import dataclass
        @dataclass
        class Point:
            x: int = 0
        session = SessionManager(MemoryStore()).open()
        session.bucket(Point).x = 1
        session["a"] = {1: [(2,)]}
        session.get("a", type=dict[int, list[tuple[int]]])
        session.save()
        names = ("attr", "attrs", "pydantic", "pydantic_core", "numpy", "django", "babel", "flask_babel", "speaklater")
        print([name for name in names if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
