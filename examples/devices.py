"""Where you are signed in: a user's sessions, with a button that ends each of them; with Flask.

python examples/devices.py
"""

import os
import re
from datetime import datetime, timedelta, timezone

from flask import Flask, abort, flash, redirect, render_template, request, session, url_for
from werkzeug.security import check_password_hash, generate_password_hash

from wsgisessions import OnInactivity, SQLiteStore
from wsgisessions.flask import Sessions

# Made up for the example; see login.py for more than one user.
NAME, PASSWORD_HASH = "ada", generate_password_hash("lovelace")

# Ended by half an hour of doing nothing, and after half a day in any case.
USUAL = OnInactivity(timedelta(minutes=30), absolute=timedelta(hours=12))
STAYS_SIGNED_IN = OnInactivity(timedelta(days=30), absolute=timedelta(days=180))
WARNING_AGE = timedelta(minutes=5)

BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari"}
SYSTEMS = ("iPhone", "iPad", "Android", "Windows", "Macintosh", "Linux")

app = Flask(__name__)
app.config.update(SESSION_COOKIE_NAME="__Host-id", SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Lax")
store = SQLiteStore(os.environ.get("DEVICES_DB", "devices.db"))
Sessions(app, store, expiry=USUAL, keep_client="plain", max_per_owner=5)


@app.get("/")
def index():
    if session.owner is None:
        return render_template("devices.html", devices=[])
    devices = Sessions.manager(app).sessions(session.owner, current=session)
    # This one first; the others are in order of their last use.
    devices.sort(key=lambda device: not device.is_current)
    return render_template("devices.html", devices=devices, is_ending=session.expires_in < WARNING_AGE)


@app.post("/login")
def log_in():
    if request.form["name"] != NAME or not check_password_hash(PASSWORD_HASH, request.form["password"]):
        flash("This name and password do not fit.", "error")
        return redirect(url_for("index"), 303)
    session.login(NAME)
    session.expiry = STAYS_SIGNED_IN if "stay" in request.form else USUAL
    return redirect(url_for("index"), 303)


@app.post("/logout")
def log_out():
    session.logout()
    flash("You are signed out on this device.")
    return redirect(url_for("index"), 303)


@app.post("/devices/end")
def end_device():
    manager = Sessions.manager(app)
    # A handle comes from a form: nobody may end a session that is not theirs.
    if request.form["handle"] not in {device.handle for device in manager.sessions(session.owner or "")}:
        abort(404)
    manager.revoke(request.form["handle"])
    flash("That device is signed out.")
    return redirect(url_for("index"), 303)


@app.post("/devices/end-others")
def end_others():
    if session.owner is None:
        abort(403)
    count = session.revoke_others()
    flash(f"Signed out on {count} other device{'' if count == 1 else 's'}.")
    return redirect(url_for("index"), 303)


@app.template_filter()
def device_name(user_agent):
    """Return what a person would call the device, such as "Firefox on Windows"."""
    browser = next((name for mark, name in BROWSERS.items() if f"{mark}/" in user_agent), "A browser")
    system = re.search("|".join(SYSTEMS), user_agent)
    return f"{browser} on {system[0].replace('Macintosh', 'a Mac')}" if system else browser


@app.template_filter()
def in_words(span):
    """Return a span of time, as "5 minutes"."""
    seconds = max(0, round(span.total_seconds()))
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            number = seconds // size
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return "less than a minute"


@app.template_global()
def now():
    return datetime.now(timezone.utc)


if __name__ == "__main__":
    app.run("localhost", int(os.environ.get("PORT", "8000")))
