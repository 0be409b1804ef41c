"""Log in once for four frameworks: Flask, Falcon, CherryPy and Django side by side, in one session.

python examples/shared_login.py
"""

import secrets
from html import escape

import cherrypy
import django
import falcon
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path
from django.views.decorators.http import require_POST
from flask import Flask, redirect, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from wsgisessions import MemoryStore, SessionMiddleware, get_session

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{framework}</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/static/style.css">
</head>
<body>
  <main class="card">
    <p class="eyebrow">Four frameworks, one login</p>
    <h1>{framework}</h1>
    <dl class="facts">
      <div><dt>Logged in as</dt><dd>{owner}</dd></div>
      <div><dt>Seen so far</dt><dd>{seen}</dd></div>
    </dl>
    <p><a href="/">Flask</a>, <a href="/falcon/">Falcon</a>, <a href="/cherrypy/">CherryPy</a>,
      <a href="/django/">Django</a></p>
    {form}
  </main>
</body>
</html>
"""
LOGIN = """<form class="fields" method="post" action="/login">
      <label>Name <input name="name" maxlength="50" autocomplete="username" required></label>
      <button>Log in</button>
    </form>"""
LOGOUT = '<form class="actions" method="post" action="{}/logout"><button>Log out</button></form>'


def show(session, framework, mounted_at):
    session.setdefault("seen", {})[framework] = True
    form = LOGIN if session.owner is None else LOGOUT.format(mounted_at)
    owner = escape(session.owner or "nobody")
    return PAGE.format(framework=framework, owner=owner, seen=", ".join(session["seen"]), form=form)


# --- Flask. With the middleware around all four, its session is at hand without wsgisessions.flask.

flask_app = Flask(__name__)


@flask_app.get("/")
def flask_index():
    return show(get_session(request.environ), "Flask", "")


@flask_app.post("/login")
def flask_login():
    # Whoever gives a name has it; login.py asks for a password.
    get_session(request.environ).login(request.form["name"])
    return redirect("/", 303)


@flask_app.post("/logout")
def flask_logout():
    get_session(request.environ).logout()
    return redirect("/", 303)


# --- Falcon


class FalconIndex:
    def on_get(self, request, response):
        response.content_type = falcon.MEDIA_HTML
        response.text = show(get_session(request.env), "Falcon", "/falcon")


class FalconLogout:
    def on_post(self, request, response):
        get_session(request.env).logout()
        raise falcon.HTTPSeeOther("/falcon/")


falcon_app = falcon.App()
falcon_app.add_route("/", FalconIndex())
falcon_app.add_route("/logout", FalconLogout())


# --- CherryPy


class CherryPyPages:
    @cherrypy.expose
    def index(self):
        return show(get_session(cherrypy.request.wsgi_environ), "CherryPy", "/cherrypy")

    @cherrypy.expose
    @cherrypy.tools.allow(methods=["POST"])
    def logout(self):
        get_session(cherrypy.request.wsgi_environ).logout()
        raise cherrypy.HTTPRedirect("/cherrypy/", 303)


cherrypy.config.update({"environment": "embedded"})
cherrypy_app = cherrypy.Application(CherryPyPages(), "/cherrypy")


# --- Django, without its own sessions


def django_index(request):
    return HttpResponse(show(get_session(request.environ), "Django", "/django"))


@require_POST
def django_logout(request):
    get_session(request.environ).logout()
    return HttpResponseRedirect("/django/")


urlpatterns = [path("", django_index), path("logout", django_logout)]

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"], SECRET_KEY=secrets.token_urlsafe())
django.setup()


application = SessionMiddleware(
    DispatcherMiddleware(
        flask_app, {"/falcon": falcon_app, "/cherrypy": cherrypy_app, "/django": get_wsgi_application()}
    ),
    MemoryStore(),
)

if __name__ == "__main__":
    from serve import serve

    serve(application)
