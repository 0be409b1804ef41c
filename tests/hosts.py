"""What serves a WSGI app beside the usual web servers: bridges, functions in a cloud, test clients, wrappers.

Each is entered with an app and yields a function that visits it: `visit(cookie)` returns the answer.
"""

import asyncio
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import requests


@dataclass
class Answer:
    """What a visitor gets."""

    status: int
    headers: list
    body: bytes

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def cookie(self):
        return (self.header("Set-Cookie") or "").partition(";")[0]


def request_headers(cookie):
    return {"Host": "example.org", **({"Cookie": cookie} if cookie else {})}


# --- from WSGI to ASGI


async def ask_asgi(asgi, cookie):
    from asgiref.testing import ApplicationCommunicator

    headers = [(name.lower().encode(), value.encode()) for name, value in request_headers(cookie).items()]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "http_version": "1.1"}
    communicator = ApplicationCommunicator(asgi, {**scope, "scheme": "https", "headers": headers})
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(10)
    chunks = []
    while True:
        message = await communicator.receive_output(10)
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    await communicator.wait(10)
    headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return Answer(start["status"], headers, b"".join(chunks))


@contextmanager
def asgiref(app):
    from asgiref.wsgi import WsgiToAsgi

    yield lambda cookie="": asyncio.run(ask_asgi(WsgiToAsgi(app), cookie))


@contextmanager
def a2wsgi(app):
    from a2wsgi import WSGIMiddleware

    asgi = WSGIMiddleware(app, workers=1)
    yield lambda cookie="": asyncio.run(ask_asgi(asgi, cookie))
    asgi.executor.shutdown()


# --- functions in a cloud


@contextmanager
def serverless_wsgi(app):
    from serverless_wsgi import handle_request

    def visit(cookie=""):
        event = {"httpMethod": "GET", "path": "/", "headers": request_headers(cookie), "requestContext": {}}
        answer = handle_request(app, event, None)
        return Answer(answer["statusCode"], list(answer["headers"].items()), answer["body"].encode())

    yield visit


@contextmanager
def azure_functions(app):
    from azure import functions

    def visit(cookie=""):
        request = functions.HttpRequest("GET", "https://example.org/", headers=request_headers(cookie), body=b"")
        answer = functions.WsgiMiddleware(app).handle(request)
        return Answer(answer.status_code, list(answer.headers.items()), answer.get_body())

    yield visit


# --- test clients


def make_environ(cookie):
    from werkzeug.test import create_environ

    return create_environ(base_url="https://example.org/", headers=request_headers(cookie))


@contextmanager
def werkzeug_client(app):
    from werkzeug.test import Client

    def visit(cookie=""):
        client = Client(app, use_cookies=False)
        with client.get(base_url="https://example.org/", headers=request_headers(cookie)) as answer:
            return Answer(answer.status_code, list(answer.headers), answer.get_data())

    yield visit


@contextmanager
def werkzeug_run_wsgi_app(app):
    from werkzeug.test import run_wsgi_app

    def visit(cookie=""):
        chunks, status, headers = run_wsgi_app(app, make_environ(cookie))
        return Answer(int(status[:3]), list(headers), b"".join(chunks))

    yield visit


@contextmanager
def werkzeug_from_app(app):
    from werkzeug.wrappers import Response

    def visit(cookie=""):
        answer = Response.from_app(app, make_environ(cookie))
        return Answer(answer.status_code, list(answer.headers), answer.get_data())

    yield visit


@contextmanager
def webob_get_response(app):
    from webob import Request

    def visit(cookie=""):
        answer = Request(make_environ(cookie)).get_response(app)
        return Answer(answer.status_int, answer.headerlist, answer.body)

    yield visit


@contextmanager
def webob_call_application(app):
    from webob import Request

    def visit(cookie=""):
        status, headers, chunks = Request(make_environ(cookie)).call_application(app)
        return Answer(int(status[:3]), headers, b"".join(chunks))

    yield visit


@contextmanager
def webtest(app):
    from webtest import TestApp

    def visit(cookie=""):
        environ = {"wsgi.url_scheme": "https", "HTTP_HOST": "example.org"}
        answer = TestApp(app).get("/", headers={"Cookie": cookie} if cookie else {}, extra_environ=environ)
        return Answer(answer.status_int, answer.headerlist, answer.body)

    yield visit


@contextmanager
def wsgi_intercept(app):
    from wsgi_intercept.interceptor import RequestsInterceptor

    with RequestsInterceptor(lambda: app, host="localhost", port=80) as url:
        yield lambda cookie="": ask(url, cookie)


# --- web servers


def ask(url, cookie):
    headers = {"Connection": "close", **({"Cookie": cookie} if cookie else {})}
    answer = requests.get(url, headers=headers, timeout=10)
    return Answer(answer.status_code, list(answer.headers.items()), answer.content)


@contextmanager
def waitress(app):
    from waitress.server import create_server

    server = create_server(app, host="127.0.0.1", port=0, threads=1)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield lambda cookie="": ask(f"http://127.0.0.1:{server.effective_port}/", cookie)
    finally:
        # Woken by something else, the server closes its trigger before it is pulled.
        with suppress(OSError):
            server.trigger.pull_trigger(server.close)
        thread.join(10)


@contextmanager
def cheroot(app):
    from cheroot.wsgi import Server

    server = Server(("127.0.0.1", 0), app, numthreads=1)
    server.expiration_interval = 0.05
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield lambda cookie="": ask(f"http://127.0.0.1:{server.bind_addr[1]}/", cookie)
    finally:
        server.stop()
        thread.join(10)


CLOSING = [
    a2wsgi,
    werkzeug_client,
    webob_call_application,
    webob_get_response,
    webtest,
    wsgi_intercept,
    waitress,
    cheroot,
]
"""They exhaust a body and then close it, as PEP 3333 wants it."""

NOT_CLOSING = [
    asgiref,
    serverless_wsgi,
    azure_functions,
    werkzeug_run_wsgi_app,
    werkzeug_from_app,
]
"""They exhaust a body, and never close it."""
