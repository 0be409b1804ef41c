"""Keep typed data in a session: the view works on a dataclass, not on a dict of anything.

python examples/guest.py
"""

from dataclasses import dataclass, field
from datetime import datetime, timezone

from wsgisessions import MemoryStore, SessionMiddleware, get_session

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Guest</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/static/style.css">
</head>
<body>
  <main class="card">
    <p class="eyebrow">Plain WSGI, typed</p>
    <h1>Welcome, guest</h1>
    <p>What the session knows of you is a <code>Guest</code>, a dataclass with a number and two times.</p>
    <dl class="facts">
      <div class="figure"><dt>Page views</dt><dd>{guest.page_views}</dd></div>
      <div><dt>First seen</dt><dd>{first_seen}</dd></div>
      <div><dt>Last seen</dt><dd>{last_seen}</dd></div>
    </dl>
    <div class="actions">
      <form><button>Look again</button></form>
      <form method="post"><button class="quiet">Forget me</button></form>
    </div>
  </main>
</body>
</html>
"""


def now():
    return datetime.now(timezone.utc)


@dataclass
class Guest:
    # Every field has a default: they make the guest of a visitor who has none yet.
    page_views: int = 0
    first_seen: datetime = field(default_factory=now)
    last_seen: datetime = field(default_factory=now)

    def view_page(self):
        self.page_views += 1
        self.last_seen = now()


def app(environ, start_response):
    session = get_session(environ)
    if environ["REQUEST_METHOD"] == "POST":
        session.flush()
        start_response("303 See Other", [("Location", "/"), ("Content-Length", "0")])
        return [b""]
    guest = session.bucket(Guest)
    last_seen = guest.last_seen
    # Changing the object is enough; the commit finds what changed.
    guest.view_page()
    body = PAGE.format(guest=guest, first_seen=show(guest.first_seen), last_seen=show(last_seen)).encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


def show(moment):
    return f'<time datetime="{moment.isoformat()}">{moment:%H:%M:%S} UTC</time>'


application = SessionMiddleware(app, MemoryStore())

if __name__ == "__main__":
    from serve import serve

    serve(application)
