"""Authlib's Flask client keeps a login's state in the session: OpenID Connect over http, with Authlib's provider."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from flask import Flask, request, session, url_for
from werkzeug.serving import make_server

from wsgisessions import SessionManager, SQLiteStore
from wsgisessions.flask import Sessions

pytest.importorskip("authlib")

from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode, UserInfo
from joserfc.jwk import RSAKey

KEY = RSAKey.generate_key(2048, {"kid": "key"})
TIMEOUT = 10


class Client(ClientMixin):
    """The shop, as the provider knows it."""

    client_id = "shop"

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return scope

    def check_redirect_uri(self, redirect_uri):
        return urlsplit(redirect_uri).path == "/callback"

    def check_client_secret(self, client_secret):
        return client_secret == "a shared secret"

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "client_secret_basic"

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):
    """What the provider gives a visitor to hand to the shop."""

    user: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope

    def get_nonce(self):
        return self.nonce

    def get_auth_time(self):
        return None

    def get_acr(self):
        return None

    def get_amr(self):
        return None


class CodeGrant(grants.AuthorizationCodeGrant):
    """Keeps the codes in memory; each is good once."""

    codes = {}  # noqa: RUF012 -- Authlib makes the instances

    def save_authorization_code(self, code, request):
        data = request.payload.data
        self.codes[code] = Code(
            request.user,
            request.payload.redirect_uri,
            request.payload.scope,
            data["nonce"],
            data["code_challenge"],
            data["code_challenge_method"],
        )

    def query_authorization_code(self, code, client):
        return self.codes.pop(code, None)

    def delete_authorization_code(self, authorization_code):
        """Forget it, as the query has already."""

    def authenticate_user(self, authorization_code):
        return authorization_code.user


class IDToken(OpenIDCode):
    def exists_nonce(self, nonce, request):
        return nonce in [code.nonce for code in CodeGrant.codes.values()]

    def get_client_algorithm(self, client):
        return "RS256"

    def get_client_claims(self, client):
        return {"iss": request.host_url}

    def resolve_client_private_key(self, client):
        return KEY

    def generate_user_info(self, user, scope):
        return UserInfo(sub=user)


def make_provider(store):
    app = Flask("provider")
    app.config["SESSION_COOKIE_NAME"] = "provider"
    Sessions(app, store)
    server = AuthorizationServer(app, query_client=lambda client_id: Client(), save_token=lambda token, request: None)
    server.register_grant(CodeGrant, [IDToken(require_nonce=True), CodeChallenge(required=True)])

    @app.get("/.well-known/openid-configuration")
    def configuration():
        return {
            "issuer": request.host_url,
            "authorization_endpoint": url_for("authorize", _external=True),
            "token_endpoint": url_for("token", _external=True),
            "jwks_uri": url_for("jwks", _external=True),
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    @app.get("/jwks")
    def jwks():
        return {"keys": [KEY.as_dict(private=False)]}

    @app.get("/sign-in/<user>")
    def sign_in(user):
        session.login(user)
        return user

    @app.get("/authorize")
    def authorize():
        return server.create_authorization_response(
            grant_user=session.owner, grant=server.get_consent_grant(end_user=session.owner)
        )

    @app.post("/token")
    def token():
        return server.create_token_response()

    return app


def make_shop(store, provider_url):
    app = Flask("shop")
    app.config["SESSION_COOKIE_NAME"] = "shop"
    Sessions(app, store)
    provider = OAuth(app).register(
        "provider",
        client_id="shop",
        client_secret="a shared secret",
        server_metadata_url=f"{provider_url}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid", "code_challenge_method": "S256"},
    )
    both_tabs = threading.Barrier(2, timeout=TIMEOUT)

    @app.get("/put/<item>")
    def put(item):
        session.setdefault("cart", []).append(item)
        return item

    @app.get("/login")
    def login():
        if "together" in request.args:
            assert session["cart"]
            both_tabs.wait()
        return provider.authorize_redirect(url_for("callback", _external=True))

    @app.get("/callback")
    def callback():
        session.login(provider.authorize_access_token()["userinfo"]["sub"])
        return session.owner

    @app.get("/me")
    def me():
        return str(session.owner)

    @app.errorhandler(OAuthError)
    def refuse(error):
        return error.error, 403

    return app


@pytest.fixture(scope="module")
def serve():
    """Return a function that serves an app on a free port, and gives its URL."""
    servers = []

    def serve(app):
        server = make_server("127.0.0.1", 0, app, threaded=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        return f"http://127.0.0.1:{server.port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return SQLiteStore(tmp_path_factory.mktemp("authlib") / "sessions.db")


@pytest.fixture(scope="module")
def provider_url(serve, store):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        yield serve(make_provider(store))


@pytest.fixture(scope="module")
def shop_url(serve, store, provider_url):
    return serve(make_shop(store, provider_url))


class Visitor(requests.Session):
    """A browser that goes from place to place at the test's word."""

    def __init__(self, shop_url, store):
        super().__init__()
        self.shop_url = shop_url
        self.store = store

    def request(self, method, url, **options):
        return super().request(method, url, timeout=TIMEOUT, **options)

    def begin(self, query=""):
        """Begin a login in the shop, pass by the provider, and return the address that leads back."""
        at_provider = self.get(f"{self.shop_url}/login{query}", allow_redirects=False).headers["Location"]
        return self.get(at_provider, allow_redirects=False).headers["Location"]

    def shop(self, path):
        return self.get(f"{self.shop_url}{path}").text

    def stored(self):
        """Return the shop's session as the store has it."""
        return SessionManager(self.store).open(self.cookies["shop"])


@pytest.fixture
def make_visitor(shop_url, provider_url, store):
    """Return a maker of visitors who are signed in at the provider."""
    with ExitStack() as visitors:

        def make_visitor(user):
            visitor = visitors.enter_context(Visitor(shop_url, store))
            visitor.get(f"{provider_url}/sign-in/{user}").raise_for_status()
            return visitor

        yield make_visitor


@pytest.fixture
def ann(make_visitor):
    return make_visitor("ann")


def refused(response):
    return (response.status_code, response.text) == (403, "mismatching_state")


def test_a_visitor_logs_in(ann):
    assert ann.shop("/put/apple") == "apple"
    before = ann.cookies["shop"]
    assert ann.shop("/login") == "ann"
    assert ann.shop("/me") == "ann"
    assert ann.cookies["shop"] != before
    assert dict(ann.stored()) == {"cart": ["apple"]}


def test_the_state_waits_in_the_session(ann):
    back = ann.begin()
    ((name, state),) = ann.stored().items()
    assert name.startswith("_state_provider_")
    assert state["data"].keys() == {"redirect_uri", "url", "nonce", "code_verifier"}
    assert ann.get(back).text == "ann"


def test_a_wrong_state_is_refused(ann):
    address, _, _ = ann.begin().partition("?")
    assert refused(ann.get(f"{address}?{urlencode({'code': 'any', 'state': 'wrong'})}"))
    assert ann.shop("/me") == "None"


def test_another_visitors_state_is_refused(ann, make_visitor):
    mallory = make_visitor("mallory")
    bait = mallory.begin()
    ann.begin()
    assert refused(ann.get(bait))
    assert ann.shop("/me") == "None"
    assert mallory.get(bait).text == "mallory"


def test_a_state_is_good_once(ann):
    back = ann.begin()
    assert ann.get(back).text == "ann"
    assert refused(ann.get(back))


def test_two_tabs_that_begin_at_once_both_finish(ann):
    ann.shop("/put/apple")
    with ThreadPoolExecutor(2) as tabs:
        first, second = tabs.map(ann.begin, ["?together", "?together"])
    assert [ann.get(back).text for back in (first, second)] == ["ann", "ann"]
    assert dict(ann.stored()) == {"cart": ["apple"]}
