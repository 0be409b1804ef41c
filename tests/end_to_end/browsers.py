"""A real browser, and https sites of its own world: any name below .test is this machine."""

import ipaddress
import os
import ssl
import tempfile
import threading
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from servers import find_program, free_port
from werkzeug.serving import WSGIRequestHandler, make_server

SITES = ["shop.test", "www.shop.test", "evil.test", "portal.test", "news.test"]


def make_certificate(folder):
    """Write a throw-away certificate and its key into one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "wsgisessions tests")])
    now = datetime.now(timezone.utc)
    names = [x509.DNSName(site) for site in SITES]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    path = Path(folder) / "certificate.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))
    return path


class QuietHandler(WSGIRequestHandler):
    def log(self, *args):
        """Say nothing."""


@contextmanager
def serving(app, certificate=None):
    """Serve an app in threads, over https if there is a certificate; yield the port."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = make_server(
        "127.0.0.1", free_port(), app, threaded=True, request_handler=QuietHandler, ssl_context=context
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def chromium():
    """Start headless Chromium with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = find_program("chromium")
    options.accept_insecure_certs = True
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=900,900",
        "--host-resolver-rules=MAP *.test 127.0.0.1",
        # With several profiles at once, each needs its own.
        f"--user-data-dir={tempfile.mkdtemp(prefix='wsgisessions-browser-', dir='/tmp')}",
    ):
        options.add_argument(argument)
    service = Service(find_program("chromedriver"), port=free_port(), log_output=os.devnull)
    with closing(Closing(webdriver.Chrome(options=options, service=service))) as browser:
        yield browser.driver


class Closing:
    def __init__(self, driver):
        self.driver = driver
        driver.set_page_load_timeout(30)

    def close(self):
        self.driver.quit()


def cookies_of(driver):
    """Return all cookies that a browser keeps, of all sites, HttpOnly ones too, as its developer tools show them."""
    return driver.execute_cdp_cmd("Storage.getCookies", {})["cookies"]
