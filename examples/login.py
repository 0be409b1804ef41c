"""Log in, log out, and log out everywhere, with Flask.

python examples/login.py
"""

import os
import secrets

from flask import Flask, flash, redirect, render_template, request, session, url_for
from werkzeug.security import check_password_hash, generate_password_hash

from wsgisessions import MemoryStore
from wsgisessions.flask import Sessions

# Made up for the example; a real app asks its database, and never has the passwords themselves.
PASSWORD_HASHES = {
    "ada": generate_password_hash("lovelace"),
    "grace": generate_password_hash("hopper"),
}
# An unknown name takes as long to refuse as a wrong password, so that nobody learns which names exist.
NOBODYS_HASH = generate_password_hash(secrets.token_urlsafe())

app = Flask(__name__)
app.config.update(
    SESSION_COOKIE_SECURE=True,  # https only, and http://localhost
    SESSION_COOKIE_SAMESITE="Lax",  # a form on another site does not carry it
)
Sessions(app, MemoryStore())


@app.get("/")
def index():
    session["visits"] = session.get("visits", 0) + 1
    return render_template("login.html")


@app.post("/login")
def log_in():
    name = request.form["name"]
    if not check_password_hash(PASSWORD_HASHES.get(name, NOBODYS_HASH), request.form["password"]):
        flash("This name and password do not fit.", "error")
        return redirect(url_for("index"), 303)
    # Changes the session's ID: whoever knew the old one stays outside.
    session.login(name)
    flash(f"Welcome, {name}.")
    return redirect(url_for("index"), 303)


@app.post("/logout")
def log_out():
    session.logout()
    flash("You are logged out.")
    return redirect(url_for("index"), 303)


@app.post("/logout-everywhere")
def log_out_everywhere():
    owner = session.owner
    session.logout()
    if owner is not None:
        Sessions.manager(app).revoke_all(owner)
    flash("You are logged out on all your devices.")
    return redirect(url_for("index"), 303)


if __name__ == "__main__":
    app.run("localhost", int(os.environ.get("PORT", "8000")))
