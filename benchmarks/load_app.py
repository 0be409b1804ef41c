"""The Flask app that load.py loads, for gunicorn: pages without a session, and on this package or Flask-Session.

The variable LAYER chooses `none`, `wsgisessions`, `flask-session` (which by default writes at each read) or
`flask-session-0` (with SESSION_PERMANENT=False it does not), and REDIS the server's URL.
"""

import os

from flask import Flask, request, session

app = Flask(__name__)
LAYER, REDIS = os.environ["LAYER"], os.environ["REDIS"]

if LAYER == "wsgisessions":
    from wsgisessions import RedisStore, merge
    from wsgisessions.flask import Sessions

    Sessions(app, RedisStore(REDIS, timeout=2), merges={"cart": merge.extend})
elif LAYER.startswith("flask-session"):
    from flask_session import Session
    from redis import Redis

    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(REDIS))
    app.config["SESSION_PERMANENT"] = LAYER == "flask-session"
    Session(app)


@app.get("/untouched")
def untouched():
    return "body"


@app.get("/read")
def read():
    return str(session.get("n"))


@app.get("/write")
def write():
    session["n"] = session.get("n", 0) + 1
    return str(session["n"])


@app.post("/merge")
def add_by_merging():
    session["cart"] = [*session.get("cart", []), request.args["item"]]
    return "added"


@app.post("/lock")
def add_under_lock():
    with session.lock(timeout=30):
        session["locked"] = [*session.get("locked", []), request.args["item"]]
    return "added"


@app.get("/cart")
def cart():
    return {"cart": session.get("cart", []), "locked": session.get("locked", [])}
