"""From a record to its Arrow columns: the one place where Python annotations become stored types."""

import dataclasses
import types
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, Union, get_args, get_origin, get_type_hints

import pyarrow as pa


class Record(Protocol):
    """Any frozen dataclass of the contract."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a record as it is stored."""

    name: str
    arrow: pa.DataType
    nullable: bool
    meaning: str
    record: type[Record] | None  # the nested record of a struct or a list of structs


def columns(record: type[Record]) -> tuple[Column, ...]:
    """The columns of a record, in order; TypeError on an annotation the contract does not allow."""
    hints = get_type_hints(record, include_extras=True)
    return tuple(_column(field.name, hints[field.name]) for field in dataclasses.fields(record))


def arrow_fields(record: type[Record]) -> list[pa.Field]:
    """The record as Arrow fields."""
    return [pa.field(c.name, c.arrow, nullable=c.nullable) for c in columns(record)]


def _column(name: str, hint: Any) -> Column:
    meaning = next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, str)), "")
    kind, nullable, nested = _arrow_type(hint)
    return Column(name, kind, nullable, meaning, nested)


def _arrow_type(hint: Any) -> tuple[pa.DataType, bool, type[Record] | None]:
    """(Arrow type, nullable, nested record) of an annotation."""
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        stored = [m for m in metadata if isinstance(m, pa.DataType)]
        return (stored[-1], False, None) if stored else _arrow_type(inner)
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = (a for a in get_args(hint) if a is not type(None))
        kind, _, nested = _arrow_type(inner)
        return kind, True, nested
    if get_origin(hint) is Literal:
        return pa.string(), False, None
    if get_origin(hint) is tuple:
        kind, nullable, nested = _arrow_type(get_args(hint)[0])
        return pa.list_(pa.field("item", kind, nullable=nullable)), False, nested
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return pa.struct(arrow_fields(hint)), False, hint
    raise TypeError(f"{hint!r} has no Arrow type; annotate it with a type of xsheet.schemas.fields")
