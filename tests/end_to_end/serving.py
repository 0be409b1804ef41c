"""Apps of the tests' own, over real http and https."""

import ssl
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from servers import free_port
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
        .add_extension(x509.SubjectAlternativeName(names), False)
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
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
