"""Fill a shopping cart, with Bottle: a list of dicts, changed in place.

python examples/cart.py
"""

from decimal import Decimal
from uuid import uuid4

from bottle import Bottle, abort, redirect, request, template

from wsgisessions import MemoryStore, SessionMiddleware, merge
from wsgisessions.bottle import SessionPlugin

PRICES = {"Teapot": Decimal("24.50"), "Cup": Decimal("6.00"), "Darjeeling": Decimal("9.80")}

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Cart</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/static/style.css">
</head>
<body>
  <main class="card">
    <p class="eyebrow">Bottle, nested data</p>
    <h1>Tea shop</h1>
    <form method="post" action="/add">
      <ul class="lines">
        % for product, price in prices.items():
        <li>{{product}}, {{price}} <button name="product" value="{{product}}">Add {{product}}</button></li>
        % end
      </ul>
    </form>
    <h2>Your cart</h2>
    % if not cart:
    <p class="muted">There is nothing in it yet.</p>
    % else:
    <ul class="lines" id="cart">
      % for line in cart:
      <li>
        <span>{{line["product"]}}{{", as a gift" if line["gift"] else ""}}</span>
        <form class="actions" method="post" action="/change">
          <input type="hidden" name="line" value="{{line["id"]}}">
          <button class="quiet" name="do" value="gift">{{"Unwrap" if line["gift"] else "Wrap as a gift"}}</button>
          <button class="quiet" name="do" value="remove">Remove</button>
        </form>
      </li>
      % end
    </ul>
    % end
    <dl class="facts">
      <div><dt>Things</dt><dd>{{len(cart)}}</dd></div>
      <div><dt>Total</dt><dd>{{sum(prices[line["product"]] for line in cart)}}</dd></div>
    </dl>
  </main>
</body>
</html>
"""

app = Bottle()
app.install(SessionPlugin())


@app.get("/")
def index(session):
    return template(PAGE, prices=PRICES, cart=session.get("cart", []))


@app.post("/add")
def add(session):
    product = request.forms.product
    if product not in PRICES:
        abort(404, "There is no such product.")
    # No `modified = True`: the commit finds what changed inside.
    session.setdefault("cart", []).append({"id": uuid4().hex, "product": product, "gift": False})
    redirect("/", 303)


@app.post("/change")
def change(session):
    cart = session.get("cart", [])
    line = next((line for line in cart if line["id"] == request.forms.line), None)
    if line is None:
        abort(404, "This is not in your cart any more.")
    if request.forms.do == "remove":
        cart.remove(line)
    else:
        line["gift"] = not line["gift"]
    redirect("/", 303)


# Two requests at once that both add something are merged. One that removed or wrapped something while
# another changed the cart is answered with 409: which of the two the visitor wants is not ours to guess.
application = SessionMiddleware(app, MemoryStore(), merges={"cart": merge.extend})

if __name__ == "__main__":
    from serve import serve

    serve(application)
