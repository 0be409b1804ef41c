"""Count a visitor's visits: a WSGI app, the middleware around it, and nothing else.

python examples/counter.py
"""

from wsgisessions import MemoryStore, SessionMiddleware, get_session

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Counter</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/static/style.css">
</head>
<body>
  <main class="card">
    <p class="eyebrow">Plain WSGI</p>
    <h1>Counter</h1>
    <p>Each visit adds one to a number in your session. Another browser has a number of its own.</p>
    <dl class="facts">
      <div class="figure"><dt>Visits</dt><dd>{visits}</dd></div>
    </dl>
    <form class="actions"><button>Visit again</button></form>
  </main>
</body>
</html>
"""


def app(environ, start_response):
    session = get_session(environ)
    session["visits"] = session.get("visits", 0) + 1
    body = PAGE.format(visits=session["visits"]).encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


application = SessionMiddleware(app, MemoryStore())

if __name__ == "__main__":
    from serve import serve

    serve(application)
