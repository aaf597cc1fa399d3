"""Formats of files: a typed description of a row, and one line where a row is another. Pure.

A suite describes its rows as frozen models in its own file, `read` makes them of plain values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, TypeAdapter
from pydantic import ValidationError as Invalid
from pydantic_core import PydanticCustomError

from lineage.core.errors import nearest
from lineage.core.fields import MUST, dotted, shown

NAMED = 8
"""Keys of a row that an error names."""
WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "too_short": "a list that is not empty",
    "tuple_type": "a list",
    "too_long": "a list of {max_length} values at most",
    "dict_type": "an object",
    "model_type": "an object",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
    "literal_error": "{expected}",
}
"""What a value must be, by pydantic's type of an error."""


class Differs(ValueError):
    """A row is not as its format has it; one line that names the value by its path in the row."""


class Described(BaseModel):
    """An object of a row. Keys that it does not name may be there, and hold anything."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


def read(kind: Any, value: object, *where: str | int, needs: str) -> Any:
    """Return `value`, which stands at `where` in its row, as `kind` describes it.

    `needs` is what an error says of a key that is missing. Raises Differs.
    """
    try:
        return _adapter(kind).validate_python(value)
    except Invalid as error:
        # A key of another name is often why one is missing.
        found = error.errors(include_url=False)
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        raise Differs(_line(kind, value, where, first, needs)) from None


def names(value: object) -> str:
    """Return the first keys of an object, for an error: on one line, whatever they are."""
    keys = sorted(map(str, value)) if isinstance(value, Mapping) else []
    shown_ = (key if key.isprintable() else ascii(key) for key in keys[:NAMED])
    return ", ".join(shown_) or "none"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    described = isinstance(kind, type) and issubclass(kind, BaseModel)
    return TypeAdapter(kind, config=None if described else ConfigDict(strict=True))


def _line(
    kind: Any, value: object, where: Sequence[str | int], error: Mapping[str, Any], needs: str
) -> str:
    name, problem = dotted((*where, *error["loc"])), str(error["type"])
    if problem == "missing":
        return f"no {name}: {needs} (found {names(error['input'])})"
    if problem == "extra_forbidden":
        known = sorted(getattr(kind, "model_fields", ()))
        return f"unknown key {name!r}{nearest(str(error['loc'][-1]), known)}"
    must = str(error["msg"])
    if problem != MUST:
        must = f"be {WANTED.get(problem, must).format(**error.get('ctx', {}))}"
    return f"{name or 'it'} is {_kind(error['input'])}: it must {must}"


def _kind(value: object) -> str:
    """Return a value for an error; of lists and objects, which may be large, only what it is."""
    if isinstance(value, (list, dict)):
        return f"{'' if value else 'empty, '}{'a list' if isinstance(value, list) else 'an object'}"
    return shown(value)


def _filled(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError(MUST, "be a text that is not empty")
    return text


def _name(value: object) -> object:
    return str(value) if type(value) is int else value


def _answer(value: object) -> object:
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return str(value)
    if not isinstance(value, str):
        raise PydanticCustomError(MUST, "be a text or a number")
    return value


Text = Annotated[str, AfterValidator(_filled)]
"""A text that is not empty."""
Name = Annotated[Text, BeforeValidator(_name)]
"""An id that some files have as a whole number."""
Answer = Annotated[str, BeforeValidator(_answer)]
"""A text, or a number that stands for its digits."""
Answers = Annotated[
    list[Answer], BeforeValidator(lambda value: value if isinstance(value, list) else [value])
]
"""One answer, or a list of answers of which any is right."""
