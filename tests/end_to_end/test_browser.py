"""What a real browser makes of the cookie: RFC 6265bis and CHIPS, as Chromium has them."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="pip install selenium")

from browsers import chromium, cookies_of
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from serving import make_certificate, serving

from wsgisessions import Cookie, MemoryStore, SessionMiddleware, get_session

# What looking at a page may raise while another one takes its place.
CHANGING = (NoSuchElementException, StaleElementReferenceException)


@pytest.fixture(scope="module", autouse=True)
def installed(server_class):
    server_class("chromium")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def shared_driver():
    with chromium() as driver:
        yield driver


@pytest.fixture
def driver(shared_driver):
    """Return the browser without a cookie."""
    shared_driver.get("about:blank")
    shared_driver.execute_cdp_cmd("Storage.clearCookies", {})
    return shared_driver


class Shop:
    """An app on a SessionMiddleware, and other people's sites."""

    def __init__(self, **options):
        self.store = MemoryStore()
        self.app = SessionMiddleware(self._app, self.store, transport=Cookie(**options))
        self.pages = {}

    def __call__(self, environ, start_response):
        """Serve the shop at shop.test, and elsewhere what `pages` says."""
        host, path = environ["HTTP_HOST"].partition(":")[0], environ["PATH_INFO"]
        if (host, path) in self.pages:
            headers, html = self.pages[host, path]
            start_response("200 OK", [("Content-Type", "text/html"), *headers])
            return [html.encode()]
        return self.app(environ, start_response)

    def _app(self, environ, start_response):
        action = environ["PATH_INFO"].rpartition("/")[2]
        session = get_session(environ)
        if action == "count":
            session["n"] = session.get("n", 0) + 1
        elif action == "cycle":
            session.cycle_id()
        elif action == "flush":
            session.flush()
        start_response("200 OK", [("Content-Type", "text/html")])
        return [f"{environ['REQUEST_METHOD']} n={session.get('n')}".encode()]


class Visit:
    """A browser at a shop, which is served over https and over plain http."""

    def __init__(self, driver, port, plain_port):
        self.driver = driver
        self.ports = {"https": port, "http": plain_port}

    def url(self, path, host="shop.test", scheme="https"):
        return f"{scheme}://{host}:{self.ports[scheme]}{path}"

    def get(self, path, host="shop.test", scheme="https"):
        self.driver.get(self.url(path, host, scheme))
        return self.text

    @property
    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def wait_for(self, text):
        WebDriverWait(self.driver, 20, ignored_exceptions=CHANGING).until(lambda driver: text in self.text)

    @property
    def cookies(self):
        return cookies_of(self.driver)


@pytest.fixture
def visit(driver, certificate):
    """Return a function that serves a shop and returns a visit."""
    with ExitStack() as stack:

        def visit(shop):
            return Visit(driver, stack.enter_context(serving(shop, certificate)), stack.enter_context(serving(shop)))

        yield visit


def test_a_secure_cookie_never_goes_over_plain_http(visit):
    shop = visit(Shop())
    assert shop.get("/count") == "GET n=1"
    assert shop.get("/read", scheme="http") == "GET n=None"
    assert shop.get("/count", scheme="http") == "GET n=1"  # given a cookie, which the browser drops
    assert shop.get("/read", scheme="http") == "GET n=None"
    assert shop.get("/read") == "GET n=1"
    insecure = visit(Shop(secure=False, name="plain"))
    insecure.get("/count", scheme="http")
    assert insecure.get("/count", scheme="http") == "GET n=2"


def test_a_cookie_as_the_scheme_says_comes_back_over_both(visit):
    shop = visit(Shop(secure="auto"))
    for scheme in ("http", "https"):
        assert shop.get("/count", scheme=scheme) == "GET n=1"
        assert shop.get("/count", scheme=scheme) == "GET n=2"
    assert {(each["name"], each["secure"]) for each in shop.cookies} == {("id", False), ("__Host-id", True)}


def test_a_cookie_of_another_path_is_kept_and_not_sent_back(visit, caplog):
    shop = visit(Shop(path="/shop"))
    assert shop.get("/count") == "GET n=1"
    assert shop.get("/count") == "GET n=1"
    assert "do not send it back to this URL" in caplog.text
    assert [each["path"] for each in shop.cookies] == ["/shop"]
    assert shop.get("/shop/count") == "GET n=2"


def test_a_cookie_of_another_domain_is_dropped(visit, caplog):
    shop = visit(Shop(domain="other.test"))
    assert shop.get("/count") == "GET n=1"
    assert "browsers drop it" in caplog.text
    assert shop.cookies == []


def test_a_function_gives_each_host_its_domain_and_each_prefix_its_path(visit):
    shop = visit(
        Shop(
            domain=lambda environ: environ["HTTP_HOST"].partition(":")[0].partition(".")[2],
            path=lambda environ: "/" + environ["PATH_INFO"].split("/")[1],
        )
    )
    for host in ("www.one.test", "www.two.test"):
        assert shop.get("/a/count", host=host) == "GET n=1"
        assert shop.get("/a/count", host=host.replace("www", "shop")) == "GET n=2"
        assert shop.get("/b/count", host=host) == "GET n=1"


@pytest.mark.parametrize("http_only", [True, False])
def test_a_script_does_not_see_an_http_only_cookie(visit, http_only):
    shop = visit(Shop(http_only=http_only))
    shop.get("/count")
    assert ("id=" in shop.driver.execute_script("return document.cookie")) == (not http_only)
    shop.driver.execute_script("document.cookie = '__Host-id=mine; Secure; Path=/'")
    assert (shop.get("/count") == "GET n=2") == http_only


SAME_SITE = {
    # Whether it arrives with a post and with a link of another site.
    "Strict": (False, False),
    "Lax": (False, True),
    "None": (True, True),
}


@pytest.mark.parametrize("same_site", SAME_SITE)
def test_what_another_site_may_send_along(visit, same_site):
    posts, links = SAME_SITE[same_site]
    app = Shop(same_site=same_site)
    shop = visit(app)
    assert shop.get("/count") == "GET n=1"
    target = shop.url("/read")
    app.pages["evil.test", "/"] = (
        [],
        f'<form method="post" action="{target}"><button>Win</button></form><a href="{target}">A link</a>'
        f'<iframe src="{target}"></iframe>',
    )
    shop.get("/", host="evil.test")
    shop.driver.find_element(By.TAG_NAME, "button").click()
    shop.wait_for("POST")
    assert shop.text == f"POST n={1 if posts else None}"

    # In a frame it is a third party's, of which Chromium sends partitioned ones only.
    shop.get("/", host="evil.test")
    shop.driver.switch_to.frame(0)
    shop.wait_for("GET")
    assert shop.text == "GET n=None"
    shop.driver.switch_to.default_content()
    shop.driver.find_element(By.TAG_NAME, "a").click()
    shop.wait_for("GET")
    assert shop.text == f"GET n={1 if links else None}"
    assert shop.get("/read") == "GET n=1"


@pytest.mark.parametrize("name", ["__Host-id", "id"])
def test_a_subdomain_cannot_plant_a_host_cookie(visit, name):
    app = Shop(name=name)
    shop = visit(app)
    planted = f"{name}={'A' * 32}; Domain=shop.test; Path=/; Secure; HttpOnly"
    app.pages["www.shop.test", "/plant"] = ([("Set-Cookie", planted)], "planted")
    shop.get("/plant", host="www.shop.test")
    assert [cookie["name"] for cookie in shop.cookies] == ([] if name.startswith("__Host-") else [name])
    # Planted or not, it is not adopted.
    assert shop.get("/count") == "GET n=1"
    assert shop.get("/count") == "GET n=2"
    assert all(cookie["value"] != "A" * 32 for cookie in shop.cookies if cookie["domain"] == "shop.test")


def test_a_partitioned_cookie_is_one_for_each_site_around(visit):
    app = Shop(name="__Host-id", same_site="None", partitioned=True)
    shop = visit(app)
    for portal in ("portal.test", "news.test"):
        app.pages[portal, "/"] = ([], f'<iframe src="{shop.url("/count")}"></iframe>')

    def embedded(portal):
        shop.get("/", host=portal)
        shop.driver.switch_to.frame(0)
        shop.wait_for("GET")
        return shop.text

    assert [embedded("portal.test"), embedded("portal.test")] == ["GET n=1", "GET n=2"]
    assert embedded("news.test") == "GET n=1"
    assert shop.get("/read") == "GET n=None"
    assert len({str(cookie["partitionKey"]) for cookie in shop.cookies}) == len(shop.cookies) == 2


KINDS = {
    "default": {},
    "host": {"name": "__Host-id"},
    "strict": {"same_site": "Strict"},
    "path": {"path": "/area"},
    "domain": {"domain": "shop.test"},
    "path and domain": {"path": "/area", "domain": "shop.test"},
    "partitioned": {"name": "__Host-id", "same_site": "None", "partitioned": True},
    "signed": {"signing_keys": ["a secret key" * 4]},
    "encrypted": {"encryption_keys": ["a secret key" * 4]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_removal_removes(visit, kind):
    shop = visit(Shop(**KINDS[kind]))
    assert [shop.get("/area/count"), shop.get("/area/count")] == ["GET n=1", "GET n=2"]
    (cookie,) = shop.cookies
    assert shop.get("/area/cycle") == "GET n=2"
    (other,) = shop.cookies
    assert other["value"] != cookie["value"]
    assert {**other, "value": "", "expires": 0} == {**cookie, "value": "", "expires": 0}
    shop.get("/area/flush")
    assert shop.cookies == []
    assert shop.get("/area/read") == "GET n=None"


def test_a_removal_without_the_same_path_would_remove_nothing(visit):
    """So the check above can fail."""
    app = Shop(path="/area")
    shop = visit(app)
    app.pages["shop.test", "/area/wrong"] = ([("Set-Cookie", "__Secure-id=; Max-Age=0; Path=/; Secure; HttpOnly")], "")
    shop.get("/area/count")
    shop.get("/area/wrong")
    assert len(shop.cookies) == 1


# --- the page of devices


def screenshot(driver, name):
    """Keep a picture, where the environment says that artefacts are kept."""
    if folder := os.environ.get("WSGISESSIONS_TEST_ARTEFACTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))


class Person:
    """Somebody at a browser of their own, at the page of devices."""

    def __init__(self, driver, url):
        self.driver = driver
        self.url = url
        driver.get(url)

    @property
    def title(self):
        return self.driver.find_element(By.TAG_NAME, "h1").text

    @property
    def notice(self):
        return self.driver.find_element(By.CLASS_NAME, "notice").text

    @property
    def devices(self):
        return self.driver.find_elements(By.CSS_SELECTOR, ".devices li")

    def sign_in(self, *, stays=False):
        self.driver.find_element(By.NAME, "name").send_keys("ada")
        self.driver.find_element(By.NAME, "password").send_keys("lovelace")
        if stays:
            self.driver.find_element(By.NAME, "stay").click()
        self.press("Sign in")

    def press(self, text):
        page = self.driver.find_element(By.TAG_NAME, "html")
        self.driver.find_element(By.XPATH, f"//button[.='{text}']").click()
        WebDriverWait(self.driver, 20).until(lambda driver: driver.find_element(By.TAG_NAME, "html") != page)

    def look_again(self):
        self.driver.get(self.url)


def test_where_you_are_signed_in(driver, certificate, tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICES_DB", str(tmp_path / "devices.db"))
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    import devices

    with serving(devices.app, certificate) as port, chromium() as other_driver:
        url = f"https://shop.test:{port}/"
        other_driver.execute_cdp_cmd(
            "Network.setUserAgentOverride", {"userAgent": "Mozilla/5.0 (iPhone) Version/18.0 Mobile Safari/604.1"}
        )
        laptop, phone = Person(driver, url), Person(other_driver, url)
        screenshot(driver, "devices-sign-in")
        assert laptop.title == "Please sign in"
        laptop.sign_in()
        phone.sign_in(stays=True)
        assert laptop.title == "Where you are signed in"
        session_cookie, lasting_cookie = cookies_of(driver), cookies_of(other_driver)
        assert lasting_cookie[0]["expires"] - session_cookie[0]["expires"] > 29 * 86_400

        laptop.look_again()
        mine, theirs = [device.text for device in laptop.devices]
        assert "Chrome on Linux" in mine
        assert "This device" in mine
        assert "Safari on iPhone" in theirs
        assert "This device" not in theirs
        screenshot(driver, "devices-two")
        screenshot(other_driver, "devices-two-phone")

        laptop.press("Sign out")
        assert laptop.notice == "That device is signed out."
        assert len(laptop.devices) == 1
        phone.look_again()
        assert phone.title == "Please sign in"

        phone.sign_in()
        phone.press("Sign out all others")
        assert phone.notice == "Signed out on 1 other device."
        laptop.look_again()
        assert laptop.title == "Please sign in"
        assert len(phone.devices) == 1
        phone.press("Sign out here")
        assert phone.title == "Please sign in"
        assert phone.notice == "You are signed out on this device."
    devices.store.close()
