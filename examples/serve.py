"""Serve an example on this machine, with its style sheet: threads around the standard library's server.

For trying things out. In production, gunicorn or another WSGI server does this.
"""

import os
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

STYLE_SHEET = Path(__file__).parent / "static" / "style.css"


class ThreadingServer(ThreadingMixIn, WSGIServer):
    # Browsers open connections ahead of time; a thread that waits for one must not hold up the exit.
    daemon_threads = True


def serve(application):
    """Answer requests to the WSGI application until Ctrl-C. The port is that of the variable PORT, or 8000."""
    port = int(os.environ.get("PORT", "8000"))
    with (
        suppress(KeyboardInterrupt),
        make_server("127.0.0.1", port, with_style_sheet(application), ThreadingServer) as server,
    ):
        # By this name, because browsers keep Secure cookies over plain http for localhost.
        print(f"wsgisessions example: http://localhost:{server.server_port}", flush=True)  # noqa: T201 -- its task
        server.serve_forever()


def with_style_sheet(application):
    def with_static(environ, start_response):
        if environ["PATH_INFO"] != "/static/style.css":
            return application(environ, start_response)
        style = STYLE_SHEET.read_bytes()
        start_response("200 OK", [("Content-Type", "text/css; charset=utf-8"), ("Content-Length", str(len(style)))])
        return [style]

    return with_static
