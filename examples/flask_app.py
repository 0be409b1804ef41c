"""Share sessions between the workers of gunicorn, with Flask.

    gunicorn -c examples/gunicorn.conf.py

The sessions are in a SQLite file, or wherever the variable WSGISESSIONS_STORE says, as a URL.
"""

import os

from flask import Blueprint, Flask, flash, redirect, render_template, request, session, url_for

from wsgisessions import merge, open_store
from wsgisessions.flask import Sessions

pages = Blueprint("notes", __name__)


def create_app():
    app = Flask(__name__)
    # A form on another site does not carry the cookie.
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    # FLASK_SESSION_COOKIE_SECURE=true in the environment, where the app is served over https.
    app.config.from_prefixed_env()
    store = open_store(os.environ.get("WSGISESSIONS_STORE", "sqlite:///example.db"))
    # Of two requests at once, each visit counts and each note stays.
    Sessions(app, store, merges={"visits": merge.add, "notes": merge.extend})
    app.register_blueprint(pages)
    return app


@pages.get("/")
def index():
    session["visits"] = session.get("visits", 0) + 1
    previous_process = session.get("process")
    session["process"] = os.getpid()
    return render_template("notes.html", process=os.getpid(), previous_process=previous_process)


@pages.post("/notes")
def add_note():
    session.setdefault("notes", []).append(request.form["text"])
    return redirect(url_for(".index"), 303)


@pages.post("/login")
def log_in():
    # Whoever gives a name has it; login.py asks for a password.
    session.login(request.form["name"])
    flash("You are logged in, your notes are still here, and your session has a new ID.")
    return redirect(url_for(".index"), 303)


@pages.post("/new-id")
def change_id():
    session.cycle_id()
    flash("Your session has a new ID; the old one is worth nothing now.")
    return redirect(url_for(".index"), 303)


@pages.post("/logout")
def log_out():
    session.logout()
    flash("Your session is deleted, and a new one has begun.")
    return redirect(url_for(".index"), 303)
