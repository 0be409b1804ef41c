"""Typed values when their class has changed since: what happens for each of the four kinds."""

from collections import Counter
from dataclasses import dataclass, field, make_dataclass

import attrs
import msgspec
import pydantic
import pytest

from wsgisessions import (
    ConfigurationError,
    DecodeError,
    EncodeError,
    MemoryStore,
    SessionError,
    SessionManager,
    merge,
)

KEY = "profile"


def dataclass_with(name="Profile", /, **fields):
    return make_dataclass(name, [(field, type(default), default) for field, default in fields.items()])


def attrs_class_with(name="Profile", /, **fields):
    return attrs.make_class(
        name, {field: attrs.field(default=default, type=type(default)) for field, default in fields.items()}
    )


def struct_with(name="Profile", /, **fields):
    return msgspec.defstruct(name, [(field, type(default), default) for field, default in fields.items()])


def pydantic_model_with(name="Profile", /, **fields):
    return pydantic.create_model(name, **{field: (type(default), default) for field, default in fields.items()})


makers = pytest.mark.parametrize("make", [dataclass_with, attrs_class_with, struct_with, pydantic_model_with])


@pytest.fixture
def manager():
    return SessionManager(MemoryStore())


@pytest.fixture
def stored(manager):
    """Return a function that stores a value under the key, and gives the session of a later request."""

    def stored(value):
        session = manager.open()
        session.update({KEY: value, "name": "ann"})
        session.save()
        return manager.open(session.id)

    return stored


@pytest.fixture
def filled(manager):
    """Return a function that fills a bucket of a class, and gives the session of a later request."""

    def filled(kind, **values):
        session = manager.open()
        bucket = session.bucket(kind, KEY)
        for name, value in values.items():
            setattr(bucket, name, value)
        session.save()
        return manager.open(session.id)

    return filled


@makers
def test_a_field_that_was_added_has_its_default(make, filled):
    session = filled(make(views=0), views=5)
    profile = session.bucket(make(views=0, town="Lyon"), KEY)
    assert (profile.views, profile.town) == (5, "Lyon")
    assert not session.is_modified
    profile.views = 6
    assert session.is_modified
    session.save()
    assert session[KEY] == {"views": 6, "town": "Lyon"}


@makers
def test_a_field_that_was_removed_stays_stored_until_another_changes(make, filled, manager):
    session = filled(make(views=0, town=""), town="Lyon")
    profile = session.bucket(make(views=0), KEY)
    assert not hasattr(profile, "town")
    assert not session.is_modified
    assert manager.open(session.id)[KEY] == {"views": 0, "town": "Lyon"}
    profile.views = 1
    session.save()
    assert manager.open(session.id)[KEY] == {"views": 1}


@makers
def test_a_field_that_was_renamed_is_one_removed_and_one_added(make, filled):
    profile = filled(make(town=""), town="Lyon").bucket(make(city=""), KEY)
    assert profile.city == ""


def test_a_renamed_field_is_read_by_its_old_name_where_the_kind_has_names_for_storing(filled):
    class Renamed(msgspec.Struct):
        city: str = msgspec.field(default="", name="town")

    class Model(pydantic.BaseModel):
        city: str = pydantic.Field("", validation_alias=pydantic.AliasChoices("town"))

    for old, new in ((struct_with(town=""), Renamed), (pydantic_model_with(town=""), Model)):
        session = filled(old, town="Lyon")
        profile = session.bucket(new, KEY)
        assert profile.city == "Lyon"
        profile.city = "Nice"
        session.save()
        session.reload()
        assert session.bucket(new, KEY).city == "Nice"


def test_an_unknown_field_is_refused_or_kept_where_the_class_says_so(filled):
    class Forbids(msgspec.Struct, forbid_unknown_fields=True):
        views: int = 0

    class ForbidsToo(pydantic.BaseModel, extra="forbid"):
        views: int = 0

    class Allows(pydantic.BaseModel, extra="allow"):
        views: int = 0

    for kind in (Forbids, ForbidsToo):
        with pytest.raises(DecodeError, match=f"session key 'profile': the stored value is no {kind.__name__}"):
            filled(dataclass_with(views=0, town=""), town="Lyon").bucket(kind, KEY)
    session = filled(dataclass_with(views=0, town=""), town="Lyon")
    session.bucket(Allows, KEY).views = 1
    session.save()
    session.reload()
    assert session[KEY] == {"views": 1, "town": "Lyon"}


@makers
def test_a_class_that_was_renamed_has_another_key_unless_the_key_was_given(make, manager):
    session = manager.open()
    session.bucket(make("Profile", views=0)).views = 5
    session.bucket(make("Profile", views=0), KEY).views = 6
    session.save()
    later = manager.open(session.id)
    assert later.bucket(make("Visitor", views=0)).views == 0
    assert later.bucket(make("Visitor", views=0), "Profile").views == 5
    assert later.bucket(make("Visitor", views=0), KEY).views == 6


@makers
def test_a_field_whose_type_has_changed_spoils_its_own_key_only(make, filled):
    session = filled(make(views=0), views=5)
    session["name"] = "ann"
    with pytest.raises(DecodeError, match="session key 'profile': the stored value is no Profile"):
        session.bucket(make(views=""), KEY)
    assert session["name"] == "ann"
    assert session[KEY] == {"views": 5}


@makers
def test_a_field_that_has_no_default_any_more_makes_no_difference_to_what_is_stored(make, filled):
    @dataclass
    class Demanding:
        views: int

    assert filled(make(views=0), views=5).bucket(Demanding, KEY).views == 5


@makers
def test_a_bucket_may_start_anew_where_the_stored_value_does_not_fit(make, filled, manager, log):
    session = filled(make(views=0), views=5)
    kind = make(views="none yet")
    assert session.bucket(kind, KEY, on_mismatch="reset").views == "none yet"
    assert log() == [
        "session key 'profile': the stored value cannot be read as Profile; it starts anew with the defaults"
    ]
    session.save()
    assert not session.is_modified
    later = manager.open(session.id)
    bucket = later.bucket(kind, KEY, on_mismatch="reset")
    assert bucket.views == "none yet"
    assert not later.is_modified
    bucket.views = "one"
    later.save()
    assert len(log()) == 2
    assert manager.open(session.id).bucket(kind, KEY, on_mismatch="reset").views == "one"
    assert len(log()) == 2


@makers
@pytest.mark.parametrize("options", [{}, {"on_conflict": "refuse"}, {"merges": {KEY: merge.members}}])
def test_a_page_that_only_looks_at_a_new_start_overwrites_nothing_and_is_not_refused(make, options):
    manager = SessionManager(MemoryStore(), **options)
    session = manager.open()
    session[KEY] = {"views": 5}
    session.save()
    kind = make(views="none yet")
    looks, changes = manager.open(session.id), manager.open(session.id)
    assert looks.bucket(kind, KEY, on_mismatch="reset").views == "none yet"
    changes.bucket(kind, KEY, on_mismatch="reset").views = "one"
    changes.save()
    looks.save()
    assert manager.open(session.id)[KEY] == {"views": "one"}


@makers
def test_a_change_after_the_new_start_is_saved(make, filled, manager):
    session = filled(make(views=0), views=5)
    session.bucket(make(views=""), KEY, on_mismatch="reset").views = "many"
    session.save()
    assert manager.open(session.id)[KEY] == {"views": "many"}


@makers
def test_what_fits_or_is_absent_does_not_start_anew(make, filled, manager, log):
    kind = make(views=0)
    assert filled(kind, views=5).bucket(kind, KEY, on_mismatch="reset").views == 5
    absent = manager.open()
    assert absent.bucket(kind, on_mismatch="reset").views == 0
    assert not absent.is_modified
    assert log() == []


def test_the_new_start_shows_no_value(stored, log):
    stored({"views": "a secret"}).bucket(dataclass_with(views=0), KEY, on_mismatch="reset")
    assert "a secret" not in "".join(log())


def test_what_was_read_before_the_new_start_is_outdated(stored):
    session = stored({"views": "many"})
    old = session[KEY]
    session.bucket(dataclass_with(views=0), KEY, on_mismatch="reset").views = 1
    old["views"] = "lost"
    with pytest.raises(SessionError, match="outdated"):
        session.save()


def test_on_mismatch_is_one_of_two_words(manager):
    with pytest.raises(ConfigurationError, match='on_mismatch is "raise" or "reset"'):
        manager.open().bucket(dataclass_with(views=0), on_mismatch="rest")


def test_an_error_of_the_classs_own_code_is_no_mismatch_and_deletes_nothing(stored):
    @dataclass
    class Basket:
        items: list = field(default_factory=list)

        def __post_init__(self):
            if self.items:
                raise ConnectionError("the shop is down")

    session = stored({"items": ["tea"]})
    with pytest.raises(ConnectionError):
        session.bucket(Basket, KEY, on_mismatch="reset")
    session.save()
    assert session[KEY] == {"items": ["tea"]}


def test_a_class_without_defaults_does_not_say_that_it_starts_anew(stored, log):
    @dataclass
    class Demanding:
        name: str

        def __post_init__(self):
            raise TypeError("a secret")

    with pytest.raises(EncodeError, match=r"session\.bucket\(Demanding\) needs defaults") as raised:
        stored({"views": 5}).bucket(Demanding, KEY, on_mismatch="reset")
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert log() == []


def test_a_bucket_that_the_next_request_could_not_read_is_refused_in_the_first(manager):
    @dataclass
    class Counting:
        seen: Counter = field(default_factory=lambda: Counter("a"))

    @dataclass
    class Keyed:
        seen: dict[object, int] = field(default_factory=dict)

    for kind in (Counting, Keyed):
        with pytest.raises(EncodeError, match=rf"session\.bucket\({kind.__name__}\) cannot be read back"):
            manager.open().bucket(kind)


def test_a_pydantic_model_is_stored_under_the_names_that_it_reads(manager):
    class Page(pydantic.BaseModel, serialize_by_alias=True):
        last_page: str = pydantic.Field("/", serialization_alias="lastPage")

    session = manager.open()
    session.bucket(Page).last_page = "/cart"
    session.save()
    assert manager.open(session.id).bucket(Page).last_page == "/cart"


@pytest.mark.parametrize("base", [object, dict])
def test_a_bucket_that_renders_itself_is_kept_by_its_fields(manager, base):
    @dataclass
    class Badge(base):
        text: str = ""

        def __html__(self):
            return f"<b>{self.text}</b>"

    session = manager.open()
    badge = session.bucket(Badge, "badge")
    session.save()
    badge.text = "new"
    session.save()
    assert manager.open(session.id).bucket(Badge, "badge").text == "new"
