"""A typed read converts hardly anything: only what was stored as Markup is Markup."""

import enum
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, NamedTuple, Optional, TypeVar, Union
from uuid import UUID

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from markupsafe import Markup
from typing_extensions import TypeAliasType, TypedDict

from wsgisessions import DecodeError, EncodeError, JSONCodec, MemoryStore, SessionManager


class Money:
    pass


codec = JSONCodec()
T = TypeVar("T")
NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)

# Each with texts that a visitor may type, which its constructor or a lenient parser would take.
TYPES = {
    Markup: (Markup("<b>"), ["<script>"]),
    bytes: (b"a", ["AA==", "a", ""]),
    UUID: (UUID(int=5), [str(UUID(int=5)), UUID(int=5).hex]),
    datetime: (NOW, [NOW.isoformat(), "2030-01-01", "1893456000"]),
    date: (NOW.date(), ["2030-01-01"]),
    time: (time(12), ["12:00:00", "12:00"]),
    timedelta: (timedelta(1), ["P1D", "1 day", "86400"]),
    Decimal: (Decimal("1.5"), ["1.5", "1", "NaN"]),
    int: (1, ["1"]),
    float: (1.5, ["1.5", "nan"]),
    bool: (True, ["true", "1", "on"]),
}


class Colour(enum.Enum):
    RED = "red"


def read(value, kind):
    return codec.decode(codec.encode_typed(value), kind)


def dataclass_of(kind):
    return make_dataclass("Dataclass", [("value", kind, None)])


def attrs_class_of(kind):
    return attrs.make_class("AttrsClass", {"value": attrs.field(default=None, type=kind)})


def struct_of(kind):
    return msgspec.defstruct("Struct", [("value", kind, None)])


def pydantic_model_of(kind):
    return pydantic.create_model("Model", __config__={"arbitrary_types_allowed": True}, value=(kind, None))


MAKERS = [dataclass_of, attrs_class_of, struct_of, pydantic_model_of]


def converts(make, kind):
    """Tell whether a model makes other types of a text by rules of its own, as pydantic does."""
    return make is pydantic_model_of and kind is not Markup


makers = pytest.mark.parametrize("make", MAKERS)
kinds = pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)


PLACES = {
    "alone": (lambda kind: kind, lambda value: value),
    "optional": (lambda kind: Optional[kind], lambda value: value),  # noqa: UP045 -- as apps write it
    "list": (lambda kind: list[kind], lambda value: [value]),
    "tuple": (lambda kind: tuple[kind, ...], lambda value: (value,)),
    "pair": (lambda kind: tuple[int, kind], lambda value: (1, value)),
    "sequence": (lambda kind: Sequence[kind], lambda value: [value]),
    "mapping": (lambda kind: Mapping[str, kind], lambda value: {"a": value}),
    "set": (lambda kind: set[kind], lambda value: {value}),
    "frozenset": (lambda kind: frozenset[kind], lambda value: frozenset({value})),
    "dict": (lambda kind: dict[str, list[kind]], lambda value: {"a": [value]}),
    "key": (lambda kind: dict[kind, int], lambda value: {value: 1}),
    "typed dict": (lambda kind: TypedDict("Typed", {"value": kind}), lambda value: {"value": value}),
    "named tuple": (lambda kind: NamedTuple("Typed", [("value", kind)]), lambda value: (value,)),
}
places = pytest.mark.parametrize(("place", "put"), PLACES.values(), ids=PLACES)


@kinds
@places
def test_a_plain_text_becomes_nothing_else(kind, place, put):
    for text in TYPES[kind][1]:
        with pytest.raises((DecodeError, TypeError)):
            read(put(text), place(kind))


@kinds
@places
def test_what_was_stored_as_a_type_is_read_as_it(kind, place, put):
    value = put(TYPES[kind][0])
    if (kind, place) == (Markup, PLACES["key"][0]):
        with pytest.raises(TypeError, match=r"cannot be read as dict.*: the keys of a dict cannot be read as Markup"):
            read(value, place(kind))
    else:
        back = read(value, place(kind))
        assert back == value
        assert type(back) is type(value) or isinstance(back, tuple)


@kinds
@makers
@places
def test_a_models_field_takes_no_plain_text_for_another_type(kind, make, place, put):
    for text in [] if converts(make, kind) else TYPES[kind][1]:
        with pytest.raises((DecodeError, TypeError)):
            read({"value": put(text)}, make(place(kind)))
        with pytest.raises((DecodeError, TypeError)):
            read([{"value": put(text)}], list[make(place(kind))])
        with pytest.raises((DecodeError, TypeError)):
            read({"value": {"value": put(text)}}, make(make(place(kind))))


@kinds
@makers
@places
def test_a_models_field_keeps_its_type_in_any_place(kind, make, place, put):
    if kind is Markup and place is PLACES["key"][0] and make is not pydantic_model_of:
        return
    model, value = make(place(kind)), put(TYPES[kind][0])
    assert read(model(value=value), model).value == value


@kinds
@makers
def test_a_models_field_keeps_its_type_from_one_request_to_the_next(kind, make):
    model = make(kind)
    value = TYPES[kind][0]
    back = read(model(value=value), model)
    assert type(back) is model
    assert type(back.value) is kind
    assert back.value == value


@makers
@kinds
def test_models_inside_models_keep_their_types(make, kind):
    value = TYPES[kind][0]
    for outer in (each for each in MAKERS if each is not pydantic_model_of or each is make):
        inner = make(kind)
        model = outer(list[inner])
        back = read(model(value=[inner(value=value)]), model)
        assert type(back.value[0]) is inner
        assert back.value[0].value == value
        for text in [] if converts(make, kind) else TYPES[kind][1]:
            with pytest.raises(DecodeError):
                read({"value": [{"value": text}]}, model)


@pytest.mark.parametrize("make", MAKERS[:3])
def test_unions_are_as_strict(make):
    model = make(Union[int, datetime, None])  # noqa: UP007 -- as apps write it
    assert read(model(value=NOW), model).value == NOW
    with pytest.raises(DecodeError):
        read({"value": NOW.isoformat()}, model)


def test_a_pydantic_union_of_models_takes_the_one_that_fits():
    class Cat(pydantic.BaseModel):
        colour: Colour = Colour.RED
        lives: int = 9

    class Dog(pydantic.BaseModel):
        colour: Colour = Colour.RED
        tricks: list[str] = []

    class Pets(pydantic.BaseModel):
        all: list[Cat | Dog] = []
        one: Dog | Cat | None = None
        pair: tuple[Cat, Colour] | None = None
        number: float | int | Colour = 0

    pets = Pets(
        all=[Dog(tricks=["sit"]), Cat(lives=7), Dog(tricks=[])],
        one=Cat(lives=1),
        pair=(Cat(), Colour.RED),
        number=Colour.RED,
    )
    assert read(pets, Pets) == pets
    assert type(read(Pets(number=1), Pets).number) is int
    for wrong in (
        {"pair": [{}]},
        {"pair": [{}, "red", 1]},
        {"all": [{"colour": "blue"}]},
    ):
        with pytest.raises(DecodeError):
            read(wrong, Pets)


def test_a_pydantic_union_of_markup_and_str_tells_them_apart():
    model = pydantic_model_of(Markup | str)
    assert type(read(model(value=Markup("<b>")), model).value) is Markup
    assert type(read({"value": "<b>"}, model).value) is str


def test_a_union_that_cannot_be_read_is_an_error_of_the_program_and_not_of_the_value():
    with pytest.raises(TypeError, match="a session cannot be read as") as raised:
        read("a", Markup | str)
    assert not isinstance(raised.value, DecodeError)


@makers
def test_a_member_of_an_enum_is_read_from_its_value(make):
    class Size(enum.IntEnum):
        LARGE = 3

    for kind, member in ((Colour, Colour.RED), (Size, Size.LARGE)):
        assert read(member.value, kind) is member
        assert read([member], list[kind]) == [member]
        assert read({member: 1}, dict[kind, int]) == {member: 1}
        model = make(kind)
        assert read(model(value=member), model).value is member
        if make is not pydantic_model_of:
            with pytest.raises(DecodeError):
                read({"value": "3"}, make(Size))
        with pytest.raises(DecodeError):
            read({"value": "blue"}, make(Colour))


def test_the_conversions_are_these():
    assert read(1, float) == 1.0
    assert type(read(1, float)) is float
    assert read(Decimal("1.5"), float) == 1.5
    assert read([1], tuple[int, ...]) == (1,)
    assert read((1,), list[int]) == [1]
    assert read({1}, frozenset[int]) == frozenset({1})
    assert read("red", Colour) is Colour.RED
    assert read(Markup("<b>"), str) == "<b>"
    for value, kind in ((1.0, int), (1, bool), (True, int), (1, str), (NOW, date), (b"a", str), (1, Decimal)):
        with pytest.raises(DecodeError):
            read(value, kind)


def test_a_base_is_not_read_as_its_subclass():
    from collections import Counter, defaultdict

    class Shout(Markup):
        pass

    for value, kind in (
        ({"a": 1}, Counter),
        ({"a": 1}, Counter[str]),
        ({"a": 1}, OrderedDict[str, int]),
        ({"a": 1}, defaultdict[str, int]),
        (Shout("<b>"), Shout),
    ):
        with pytest.raises(DecodeError, match="the stored value is no"):
            read(value, kind)


def test_a_pydantic_model_converts_by_its_own_rules():
    class Lax(pydantic.BaseModel):
        when: datetime | None = None

    class Strict(pydantic.BaseModel, strict=True):
        when: datetime | None = None

    assert read({"when": NOW.isoformat()}, Lax).when == NOW
    assert read({"when": NOW}, Strict).when == NOW
    with pytest.raises(DecodeError):
        read({"when": NOW.isoformat()}, Strict)


def test_pydantic_models_with_their_own_init():
    class Model(pydantic.BaseModel):
        when: datetime | None = None

        def __init__(self, **data):
            super().__init__(**data)

    class Outer(pydantic.BaseModel):
        one: Model | int | None = None
        many: Sequence[Model] = ()
        table: dict[str, Model] = {}
        typed: TypedDict("Row", {"model": Model}) | None = None

    assert read(Model(when=NOW), Model).when == NOW
    full = Outer(one=Model(when=NOW), many=[Model()], table={"a": Model(when=NOW)}, typed={"model": Model(when=NOW)})
    assert read(full, Outer) == full


def test_a_member_of_an_enum_is_read_in_any_place_of_a_pydantic_model():
    class Inner(pydantic.BaseModel):
        colour: Colour = Colour.RED

    class Pair(NamedTuple):
        colour: Colour
        number: int

    class Row(TypedDict):
        colour: Colour

    @dataclass
    class Box(Generic[T]):
        inside: T

    places = {
        TypeAliasType("Colours", list[Colour]): [Colour.RED],
        Box[Colour]: Box(Colour.RED),
        list[Colour]: [Colour.RED],
        tuple[Colour, int]: (Colour.RED, 1),
        set[Colour]: {Colour.RED},
        dict[Colour, list[Colour]]: {Colour.RED: [Colour.RED]},
        Sequence[Colour]: [Colour.RED],
        OrderedDict[str, Colour]: OrderedDict(a=Colour.RED),
        list[Annotated[Colour, "a note"]]: [Colour.RED],
        Union[int, Colour, None]: Colour.RED,  # noqa: UP007 -- as apps write it
        Inner: Inner(),
        dict[str, Inner]: {"a": Inner()},
        Pair: Pair(Colour.RED, 1),
        Row: {"colour": Colour.RED},
    }
    for kind, value in places.items():
        model = pydantic_model_of(kind)
        full = model(value=value)
        assert read(full, model) == full, kind


def test_aliases_of_pydantic_fields():
    class Model(pydantic.BaseModel):
        colour: Colour = pydantic.Field(Colour.RED, validation_alias=pydantic.AliasChoices("color", "tint"))
        when: datetime | None = pydantic.Field(None, alias="at")

    assert read({"tint": "red", "at": NOW}, Model) == Model.model_validate({"tint": Colour.RED, "at": NOW})


def test_pydantic_fields_named_like_parts_of_a_schema():
    class Model(pydantic.BaseModel):
        type: datetime | None = None
        default: datetime | None = None
        config: UUID | None = None
        metadata: bytes = b""
        members: list[date] = []
        schema_: dict[UUID, time] = {}
        strict: Decimal = Decimal(1)

    full = Model(
        type=NOW, default=NOW, config=UUID(int=1), metadata=b"a", members=[NOW.date()], schema_={UUID(int=1): time(1)}
    )
    assert read(full, Model) == full


class Node(pydantic.BaseModel):
    when: datetime | None = None
    children: list["Node"] = []


class Early(pydantic.BaseModel):
    colour: "Late | str | None" = None
    only: "Late | None" = None


class Late(enum.Enum):
    RED = "red"


def test_a_pydantic_model_whose_types_come_later_is_completed_first():
    assert read({"only": "red"}, Early).only is Late.RED


def test_a_str_stays_one_where_a_pydantic_model_takes_both():
    assert read({"colour": "red"}, Early).colour == "red"


class Deferred(pydantic.BaseModel, defer_build=True):
    node: Node | None = None


def test_recursive_and_deferred_pydantic_models():
    tree = Node(children=[Node(when=NOW)])
    assert read(tree, Node) == tree
    assert read(Deferred(node=tree), Deferred) == Deferred(node=tree)


def test_a_models_own_rules_still_hold():
    class Model(pydantic.BaseModel):
        name: str = pydantic.Field("ann", max_length=3)

        @pydantic.field_validator("name")
        @classmethod
        def lower(cls, name):
            return name.lower()

    assert read({"name": "BOB"}, Model).name == "bob"
    with pytest.raises(DecodeError):
        read({"name": "longer"}, Model)


SECRET = "a secret value"


@makers
def test_no_message_shows_a_value(make):
    for model, value in ((make(int), SECRET), (make(dict[str, int]), {SECRET: SECRET}), (make(Colour), SECRET)):
        with pytest.raises(DecodeError) as raised:
            read({"value": value}, model)
        assert SECRET not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None


def test_a_value_that_the_classs_own_code_refuses_does_not_fit():
    @attrs.define
    class Picky:
        name: str = attrs.field(default="")

        @name.validator
        def check(self, attribute, value):
            if value:
                raise ValueError(value)

    @dataclass
    class Wild:
        name: str = ""

        def __post_init__(self):
            if self.name:
                raise ValueError(self.name)

    for kind in (Picky, Wild):
        with pytest.raises(DecodeError, match=f"the stored value is no {kind.__name__}") as raised:
            read({"name": SECRET}, kind)
        assert SECRET not in str(raised.value)


def test_a_model_that_cannot_be_kept_is_refused_with_the_path_and_no_value():
    @dataclass
    class Basket:
        items: list = field(default_factory=list)

    with pytest.raises(EncodeError, match=r"^\['items'\]\[0\] is of type builtins\.object, .* for this field"):
        codec.encode_typed(Basket([object()]))

    class Model(pydantic.BaseModel):
        number: int = 0

        @pydantic.field_serializer("number")
        def fail(self, value):
            raise LookupError(SECRET)

    with pytest.raises(EncodeError, match="whose own code raised") as raised:
        codec.encode_typed([Model()])
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_bucket_with_markup_is_markup_again(recwarn):
    class Page(pydantic.BaseModel, arbitrary_types_allowed=True):
        title: Markup = Markup()
        views: int = 0

    manager = SessionManager(MemoryStore())
    session = manager.open()
    page = session.bucket(Page)
    page.title = Markup("<b>")
    page.views = SECRET  # pydantic would warn, and show the value
    session.save()
    assert not recwarn.list
    assert manager.open(session.id)["test_a_bucket_with_markup_is_markup_again.<locals>.Page"]["title"] == Markup("<b>")


@pytest.mark.parametrize("rename", ["camel", lambda name: f"${name}"])
def test_a_structs_own_layout_is_kept(rename):
    class Renamed(msgspec.Struct, rename=rename, tag="renamed", omit_defaults=True):
        first_name: str = ""
        title: Markup | None = None
        unset: int | msgspec.UnsetType = msgspec.UNSET

    class Row(msgspec.Struct, array_like=True, tag=True):
        when: datetime | None = None
        one: Renamed | None = None

    class Single(msgspec.Struct, rename=rename):
        only: int = 0

    for value in (Renamed("ann", Markup("<b>")), Renamed(unset=5), Row(NOW, Renamed("bob")), Single(5)):
        back = read(value, type(value))
        assert back == value
        assert type(getattr(back, "title", None)) is type(getattr(value, "title", None))


def test_a_union_of_tagged_structs_is_kept():
    class Cat(msgspec.Struct, tag=True):
        lives: int = 9

    class Dog(msgspec.Struct, tag=True):
        lives: int = 1

    class Row(msgspec.Struct, array_like=True, tag=True):
        lives: int = 1

    class Line(msgspec.Struct, array_like=True, tag=True):
        lives: int = 9

    pets = [Dog(), Cat(), Dog(2)]
    assert read(pets, list[Cat | Dog]) == pets
    lines = [Line(), Row(2)]
    assert read(lines, list[Row | Line]) == lines


def test_a_root_model_is_kept_as_what_it_holds():
    class Names(pydantic.RootModel[list[str]]):
        root: list[str] = []

    assert codec.encode_typed(Names(["a"])) == '["a"]'
    assert read(Names(["a"]), Names).root == ["a"]


@pytest.mark.parametrize("key", [Optional[Markup], Annotated[Markup, msgspec.Meta(title="a title")], Money])  # noqa: UP045
def test_keys_of_a_class_that_nobody_checks_are_refused_however_they_are_written(key):
    with pytest.raises(TypeError, match=r"the keys of a dict cannot be read as .*; write Any for their type"):
        read({"<b>": 1}, dict[key, int])
    assert read({"<b>": 1, 7: 2}, dict[Any, int]) == {"<b>": 1, 7: 2}


def test_a_text_is_no_memoryview():
    with pytest.raises(DecodeError):
        read("true", memoryview)


def test_a_note_that_cannot_be_hashed_is_no_error():
    assert read([1], Annotated[list[int], {}]) == [1]


def test_a_dataclass_of_pydantics_is_refused_by_name():
    @pydantic.dataclasses.dataclass
    class Row:
        n: int = pydantic.Field(0, le=5)

    for kind in (Row, list[Row]):
        with pytest.raises(TypeError, match="Row is a dataclass of pydantic's; make it a BaseModel"):
            read({"n": 99}, kind)
