"""Serve flask_app.py by four processes of several threads each.

gunicorn -c examples/gunicorn.conf.py
"""

import os
from pathlib import Path

wsgi_app = "flask_app:create_app()"
pythonpath = str(Path(__file__).resolve().parent)

bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
workers = 4
worker_class = "gthread"
threads = 4
# The app is made once, before the workers are forked; its store opens connections of its own in each.
preload_app = True


def when_ready(server):
    server.log.info("wsgisessions example: %s", server.LISTENERS[0])
