"""Keys of a configuration: bounds, unit and meaning on the field, and one line where one is wrong.

A node of the tree is a frozen pydantic dataclass with `NODE`; each of its fields is a `key`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from lineage.core.errors import LineageError, nearest
from lineage.core.urls import check_url, is_url

NODE = ConfigDict(extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True, defer_build=True)
"""How each node is checked, and built when first made, so that `--help` need not wait for it.

An unknown key is refused, and so is a number that is not finite.

A text may be given as a number (run.name=7), a whole number where any number will do (it becomes
1.0); a number as text ("8") or as true is refused. yes, no, on, off, 1 and 0 are true or false.
"""
Whole = Annotated[int, Strict()]
Count = Annotated[int, Strict(), Field(ge=1)]
Number = Annotated[float, Strict()]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]
AUTO: Literal["auto"] = "auto"
"""What a number may be that lineage finds itself."""
SHOWN = 80
"""Letters of a wrong value that an error quotes."""
WRONG_TYPE = ("_type", "_from_float", "_parsing")
"""How pydantic's types of an error end that is not about how much."""
PLAIN, KEYS = "<plain>", "<keys>"
"""Tags of a key that holds a plain value or a mapping of keys (`which`), and none of its path."""
MUST, LINE = "must", "line"
"""Types of our own errors: what a value must do, and a whole line."""
KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a mapping of keys",
}
"""What a value must be, by its type in the JSON schema."""

T = TypeVar("T")


def _bookable(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise PydanticCustomError(MUST, "be a fraction up to 1, or a whole number")
    return gpus


Gpus = Annotated[float, Strict(), Field(ge=0), AfterValidator(_bookable)]
"""GPUs as Ray books them: several, or a fraction of one, never a fraction of several."""


def _or_auto(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    return AUTO if value == AUTO else handler(value)


if TYPE_CHECKING:
    Automatic = int | Literal["auto"]
else:
    # A union of both would put the name of its option into each error's place.
    Automatic = Annotated[int, Strict(), Field(ge=1), WrapValidator(_or_auto)]


def which(value: Any) -> str:
    """Return the tag of a `value` that may be plain or a mapping of keys, for a `Discriminator`."""
    return KEYS if isinstance(value, Mapping) or is_dataclass(value) else PLAIN


def key(
    about: str = "", unit: str = "", *, default: Any = ..., factory: Any = None, **bounds: Any
) -> Any:
    """Return the field of a key: what it is about, its unit, and its `bounds` as pydantic has them.

    A key without `default` or `factory` must be set. A key that is added to the tree has one, which
    says what a saved configuration from before it means.
    """
    extra: Any = {"unit": unit} if unit else None
    made: dict[str, Any] = {"default": default} if factory is None else {"default_factory": factory}
    return Field(**made, **bounds, description=about or None, json_schema_extra=extra)


def wrong(line: str) -> PydanticCustomError:
    """Return the error that a check of a whole node raises, to be shown as this line."""
    return PydanticCustomError(LINE, "{line}", {"line": line})


def check_place(key: str, place: str) -> None:
    """Raise what a check of a node raises where `place` is a URL that nothing can be stored at."""
    if is_url(place):
        try:
            check_url(key, place)
        except LineageError as error:
            raise wrong(str(error)) from error


def checked(kind: type[T], values: Any, where: str = "") -> T:
    """Return the node `kind`, at `where` in the tree, that plain `values` describe.

    Raises LineageError with one line: the first thing wrong, and how many more there are.
    """
    try:
        made: T = _adapter(cast(Any, kind)).validate_python(values)
        return made
    except ValidationError as error:
        # An unknown key is often why another has no value.
        found = sorted(error.errors(include_url=False), key=lambda one: not _is_unknown(one))
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise LineageError(_line(kind, values, where, found[0]) + more) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def schema(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of `kind`, in which a numeric key has its `unit`."""
    return _adapter(kind).json_schema()


def keys(kind: Any, values: Any) -> set[str]:
    """Return the dotted keys that `kind` has, and those of `values`, which may be more."""
    top = schema(kind)
    return {*_schema_keys(top, top), *_value_keys(values)}


def _is_unknown(error: Mapping[str, Any]) -> bool:
    return str(error["type"]) == "unexpected_keyword_argument"


def _line(kind: Any, values: Any, where: str, error: Mapping[str, Any]) -> str:
    path = tuple(part for part in error["loc"] if part not in (PLAIN, KEYS))
    name, problem = dotted((where, *path)), str(error["type"])
    if problem == LINE:
        return str(error["msg"])
    if problem == "missing":
        return f"conf key {name!r} has no value: set it"
    if _is_unknown(error):
        known = {dotted((where, one)) for one in keys(kind, values)}
        return f"unknown conf key {name!r}{nearest(name, sorted(known - {name}))}"
    field, unit = _field(schema(kind), path)
    must = str(error["msg"]) if problem == MUST else _must(field, problem)
    # A wrong type says nothing yet about how much.
    counted = f" ({unit})" if unit and not problem.endswith(WRONG_TYPE) else ""
    return f"{name or 'the configuration'} is {shown(error['input'])}: it must {must}{counted}"


def _must(field: Mapping[str, Any], problem: str) -> str:
    """Return what the schema `field` asks of a value, as far as `problem` is about that."""
    options = [one for one in _options(field) if one.get("type") != "null"]
    one = options[0]
    if problem in ("too_short", "too_long"):
        return f"hold {_range(one.get('minItems'), one.get('maxItems'))}"
    be = "be null or " if len(options) < len(_options(field)) else "be "
    if "enum" in one:
        return f"{be}one of {', '.join(map(str, one['enum']))}"
    if problem.endswith(WRONG_TYPE):
        return f"{be}{KINDS[str(one.get('type', 'object'))]}"
    above, high = one.get("exclusiveMinimum"), one.get("maximum")
    if above is None:
        return f"{be}{_range(one.get('minimum'), high)}"
    below = one.get("exclusiveMaximum")
    if below is not None:
        return f"{be}more than {above} and less than {below}"
    return f"{be}more than {above}" + (f" and at most {high}" if high is not None else "")


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"exactly {low}" if low == high else f"between {low} and {high}"
    if high is not None:
        return f"{high} or less"
    return f"{low} or more" if low is not None else "a finite number"


def _field(top: dict[str, Any], path: Sequence[str | int]) -> tuple[dict[str, Any], str]:
    """Return the schema at `path` below `top`, and the unit of the key that it belongs to."""
    field, unit = top, ""
    for part in path:
        field = next(
            (
                found
                for option in _options(field)
                if (found := _below(_resolved(top, option), part)) is not None
            ),
            {},
        )
        field = _resolved(top, field)
        unit = str(field.get("unit", unit))
    return field, unit


def _options(field: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas of which a value must fit one."""
    found: list[dict[str, Any]] = field.get("anyOf") or field.get("oneOf") or [dict(field)]
    return found


def _below(field: Mapping[str, Any], part: str | int) -> dict[str, Any] | None:
    if isinstance(part, int):
        found = field.get("items")
    else:
        found = field.get("properties", {}).get(part, field.get("additionalProperties"))
    return found if isinstance(found, dict) else None


def _resolved(top: Mapping[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in field:
        return field
    found: dict[str, Any] = top["$defs"][field["$ref"].rpartition("/")[2]]
    return found


def _schema_keys(
    top: Mapping[str, Any], field: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    for name, below in field.get("properties", {}).items():
        yield f"{prefix}{name}"
        for option in _options(_resolved(top, below)):
            yield from _schema_keys(top, _resolved(top, option), f"{prefix}{name}.")


def _value_keys(values: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(values, Mapping):
        for name, below in values.items():
            yield f"{prefix}{name}"
            yield from _value_keys(below, f"{prefix}{name}.")


def dotted(path: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.strip(".")


def shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, dict)) and not value:
        return "empty"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
