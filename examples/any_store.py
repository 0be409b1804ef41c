"""Keep the same sessions in any store, chosen by a URL on the command line.

python examples/any_store.py redis://localhost
python examples/any_store.py postgresql://user:password@localhost/database
python examples/any_store.py mysql://user:password@localhost/database
python examples/any_store.py mongodb://localhost
python examples/any_store.py sqlite:///sessions.db
"""

import sys
from datetime import timedelta

from wsgisessions import SessionMiddleware, get_session, open_store

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Any store</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/static/style.css">
</head>
<body>
  <main class="card">
    <p class="eyebrow">Plain WSGI</p>
    <h1>Any store</h1>
    <p>Your session is in the store whose URL you chose. It is still there when you stop this program and
      start it again; only <code>memory://</code> forgets.</p>
    <dl class="facts">
      <div class="figure"><dt>Visits</dt><dd>{visits}</dd></div>
      <div><dt>Store</dt><dd>{store}</dd></div>
      <div><dt>Ends in</dt><dd>{expires_in}</dd></div>
    </dl>
    <form class="actions"><button>Visit again</button></form>
  </main>
</body>
</html>
"""


def make_application(url):
    store = open_store(url)
    store.setup()

    def app(environ, start_response):
        session = get_session(environ)
        session["visits"] = session.get("visits", 0) + 1
        session.save()
        expires_in = timedelta(seconds=round(session.expires_in.total_seconds()))
        body = PAGE.format(visits=session["visits"], store=type(store).__name__, expires_in=expires_in).encode()
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
        return [body]

    application = SessionMiddleware(app, store)
    application.manager.purge(every=timedelta(minutes=10))
    return application


if __name__ == "__main__":
    from serve import serve

    serve(make_application(sys.argv[1] if len(sys.argv) > 1 else "memory://"))
