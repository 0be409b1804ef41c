"""Typed reads and buckets: dataclass, attrs, msgspec and pydantic."""

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from wsgisessions import DecodeError, EncodeError, SessionError, SessionManager

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)


@dataclass
class Guest:
    views: int = 0
    first_seen: datetime | None = None
    tags: set[str] = field(default_factory=set)
    extra: dict[str, Any] = field(default_factory=dict)


@attrs.define
class AttrsGuest:
    views: int = 0
    first_seen: datetime | None = None
    tags: set[str] = attrs.Factory(set)
    extra: dict[str, Any] = attrs.Factory(dict)


class StructGuest(msgspec.Struct):
    views: int = 0
    first_seen: datetime | None = None
    tags: set[str] = msgspec.field(default_factory=set)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class ModelGuest(pydantic.BaseModel):
    views: int = 0
    first_seen: datetime | None = None
    tags: set[str] = set()
    extra: dict[str, Any] = {}


kinds = pytest.mark.parametrize("kind", [Guest, AttrsGuest, StructGuest, ModelGuest])


def test_a_bucket_needs_defaults(browser):
    @dataclass
    class Demanding:
        views: int

    def view(session):
        with pytest.raises(EncodeError, match=r"session\.bucket\(Demanding\) needs defaults"):
            session.bucket(Demanding)

    browser.get(view)


@kinds
def test_a_bucket_is_made_with_its_defaults_and_keeps_its_changes(browser, kind):
    def view(session):
        guest = session.bucket(kind)
        guest.views += 1
        guest.first_seen = guest.first_seen or NOW
        guest.tags.add(f"tag {guest.views}")
        guest.extra["nested"] = [guest.views]
        return guest

    assert browser.get(view).commands == ["create"]
    response = browser.get(view)
    assert response.commands == ["load", "update"]
    guest = response.result
    assert type(guest) is kind
    assert (guest.views, guest.first_seen, guest.tags) == (2, NOW, {"tag 1", "tag 2"})
    assert guest.extra == {"nested": [2]}


@kinds
def test_a_bucket_that_was_only_looked_at_is_not_stored(browser, kind):
    assert browser.get(lambda session: session.bucket(kind).views).commands == []
    browser.get(lambda session: setattr(session.bucket(kind), "views", 5))
    response = browser.get(lambda session: session.bucket(kind).views)
    assert response.result == 5
    assert response.commands == ["load"]


def test_buckets_have_their_own_keys(browser):
    def view(session):
        session.bucket(Guest).views = 1
        session.bucket(Guest, "other").views = 2
        return sorted(session)

    assert browser.get(view).result == ["Guest", "other"]
    assert browser.get(lambda session: session["Guest"]["views"]).result == 1


def test_a_bucket_that_does_not_fit_raises_with_its_key(browser):
    browser.get(lambda session: session.update(Guest={"views": "many"}))

    def view(session):
        with pytest.raises(DecodeError, match="session key 'Guest': the stored value is no Guest"):
            session.bucket(Guest)

    browser.get(view)


def test_a_bucket_that_cannot_be_kept_raises_at_the_commit():
    from wsgisessions import MemoryStore

    session = SessionManager(MemoryStore()).open()
    session.bucket(Guest).extra["x"] = object()
    with pytest.raises(EncodeError, match="session key 'Guest'"):
        session.save()


def test_a_typed_read_converts_strictly(browser):
    browser.get(lambda session: session.update(n=1, when=NOW, names=["a"], pairs={"a": (1, 2)}))

    def view(session):
        assert session.get("n", type=int) == 1
        assert session.get("when", type=datetime) == NOW
        assert session.get("names", type=list[str]) == ["a"]
        assert session.get("pairs", type=dict[str, tuple[int, int]]) == {"a": (1, 2)}
        assert session.get("absent", type=int) is None
        assert session.get("absent", 5, type=int) == 5
        with pytest.raises(DecodeError, match="session key 'names'"):
            session.get("names", type=list[int])
        with pytest.raises(DecodeError, match="session key 'n': the stored value is no str"):
            session.get("n", type=str)

    assert browser.get(view).commands == ["load"]


def test_a_change_inside_a_typed_value_is_found(browser):
    browser.get(lambda session: session.update(guests=[{"views": 1}], tags={"a"}))

    def view(session):
        session.get("guests", type=list[Guest])[0].views = 7
        session.get("tags", type=set[str]).add("b")

    browser.get(view)
    stored = browser.get(dict).result
    assert stored["guests"][0]["views"] == 7
    assert stored["tags"] == {"a", "b"}


def test_a_bucket_after_its_key_was_deleted_is_a_new_one(browser):
    browser.get(lambda session: session.bucket(Guest, "g").__setattr__("views", 5))

    def anew(session):
        del session["g"]
        session.bucket(Guest, "g").views = 5
        assert list(session) == ["g"]
        assert len(session) == 1

    browser.get(anew)
    assert browser.get(lambda session: session.bucket(Guest, "g").views).result == 5


def test_models_with_aliases_and_computed_fields_come_back(browser):
    class User(pydantic.BaseModel, extra="forbid"):
        name: str = pydantic.Field("", alias="userName")
        mail: str = pydantic.Field("", validation_alias="email")
        town: str = pydantic.Field("", serialization_alias="city")

        @pydantic.computed_field
        @property
        def greeting(self) -> str:
            return f"Hello {self.name}"

    def fill(session):
        user = session.bucket(User)
        user.name, user.mail, user.town = "ann", "ann@example.org", "Lyon"

    browser.get(fill)
    user = browser.get(lambda session: session.bucket(User)).result
    assert (user.name, user.mail, user.town) == ("ann", "ann@example.org", "Lyon")


def test_a_change_by_one_type_is_seen_by_the_other_and_a_late_one_is_refused(browser):
    browser.get(lambda session: session.update(cart=["a"]))

    def view(session):
        plain = session["cart"]
        typed = session.get("cart", type=list[str])
        plain.append("x")
        assert session.get("cart", type=list[str]) == ["a", "x"]
        typed.append("y")
        with pytest.raises(SessionError, match="read it again"):
            session.save()
        session.reload()

    browser.get(view)


def test_one_key_read_as_two_types_shows_the_change_of_the_first(browser):
    def view(session):
        session.bucket(Guest).views = 3
        assert session["Guest"]["views"] == 3
        assert "Guest" in session
        assert len(session) == 1

    browser.get(view)
    assert browser.get(lambda session: session["Guest"]["views"]).result == 3


def test_one_key_changed_as_two_types_is_refused():
    from wsgisessions import MemoryStore

    session = SessionManager(MemoryStore()).open()
    guest = session.bucket(Guest)
    guest.views = 1
    session["Guest"]["views"] = 2
    guest.views = 3
    with pytest.raises(SessionError, match="read it as one type"):
        session.save()
