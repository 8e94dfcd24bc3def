"""Column types, and the Arrow columns of a record: the one place where Python annotations become stored types."""

import base64
import dataclasses
import math
import struct
import types
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo


class Record(Protocol):
    """Any frozen dataclass of the contract."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a record as it is stored."""

    name: str
    arrow_type: pa.DataType
    nullable: bool
    description: str
    record: type[Record] | None  # the nested record of a struct or a list of structs


def columns(record: type[Record]) -> tuple[Column, ...]:
    """The columns of a record, in order; TypeError for a Python type that the contract does not allow."""
    hints = get_type_hints(record, include_extras=True)
    return tuple(_column(field.name, hints[field.name]) for field in dataclasses.fields(record))


def arrow_fields(record: type[Record]) -> list[pa.Field]:
    """The record as Arrow fields."""
    return [pa.field(c.name, c.arrow_type, nullable=c.nullable) for c in columns(record)]


def _column(name: str, hint: Any) -> Column:
    meaning = next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, str)), "")
    kind, nullable, nested = _arrow_type(hint)
    return Column(name, kind, nullable, meaning, nested)


def _arrow_type(hint: Any) -> tuple[pa.DataType, bool, type[Record] | None]:
    """(Arrow type, nullable, nested record) of a Python type annotation."""
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
    raise TypeError(f"{hint!r} has no Arrow type; annotate it with a type of xsheet.schemas.columns")


def iter_fields(record: type[Record], prefix: str = "") -> Iterator[tuple[str, Column]]:
    """(dotted path, column) of a record and of all records inside it; '[]' marks a list."""
    for column in columns(record):
        path = prefix + column.name
        yield path, column
        if column.record is not None:
            yield from iter_fields(column.record, path + ("[]." if pa.types.is_list(column.arrow_type) else "."))


def column_dicts(record: type[Record]) -> list[dict[str, Any]]:
    """The columns of a record as plain data, nested records in full."""
    return [_column_dict(column) for column in columns(record)]


def _column_dict(column: Column) -> dict[str, Any]:
    row: dict[str, Any] = {"name": column.name, "type": short_type(column.arrow_type), "nullable": column.nullable}
    if column.record is not None:
        row["columns"] = column_dicts(column.record)
    return row


def short_type(kind: pa.DataType) -> str:
    """An Arrow type in one or two words; a struct without its fields."""
    if pa.types.is_list(kind):
        return f"list<{short_type(kind.value_type)}>"
    return "struct" if pa.types.is_struct(kind) else str(kind)


RECORD = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

Str = Annotated[str, pa.string()]
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$"), pa.string()]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$"), pa.string()]
Bool = Annotated[bool, pa.bool_()]
Int16 = Annotated[int, Field(ge=-(2**15), lt=2**15), pa.int16()]
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31), pa.int32()]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63), pa.int64()]
Float = Annotated[float, pa.float64()]

Count = Annotated[int, Field(ge=0, lt=2**63), pa.int64()]
Us = Annotated[int, Field(ge=0, lt=2**63), pa.int64()]
OffsetUs = Annotated[int, Field(gt=-(2**63), lt=2**63), pa.int64()]
Share = Annotated[float, Field(ge=0, le=1), pa.float64()]
NonNegative = Annotated[float, Field(ge=0), pa.float64()]
Level = Annotated[int, Field(ge=0, le=3), pa.int8()]


def _as_float32(values: tuple[float | None, ...]) -> tuple[float | None, ...]:
    # Stored as float32, so kept as float32: a round trip through Parquet must be the identity.
    floats = [v for v in values if v is not None]
    rounded = iter(array("f", floats))
    if len(floats) == len(values):
        return tuple(rounded)
    return tuple(None if v is None else next(rounded) for v in values)


def _to_json(values: tuple[float | None, ...]) -> str:
    # base64, because as decimal numbers the series of one face over an hour take 120 MB.
    return base64.b64encode(struct.pack(f"<{len(values)}f", *(math.nan if v is None else v for v in values))).decode()


def _from_json(value: object, info: ValidationInfo) -> object:
    if info.mode != "json" or not isinstance(value, str):
        return tuple(value) if info.mode == "json" and isinstance(value, list) else value
    data = base64.b64decode(value, validate=True)
    if len(data) % 4:
        raise ValueError(f"expected 4 bytes for each value, got {len(data)} in all")
    values = struct.unpack(f"<{len(data) // 4}f", data)
    return values if all(map(math.isfinite, values)) else tuple(v if math.isfinite(v) else None for v in values)


Series = Annotated[
    tuple[float | None, ...],
    BeforeValidator(_from_json),
    AfterValidator(_as_float32),
    PlainSerializer(_to_json, when_used="json"),
    pa.list_(pa.float32()),
]
"""One value per frame at 25 fps; null where nothing was measured (face hidden, hand out of the picture).

In the JSON of stored results it is little-endian float32 in base64, with NaN for null.
"""

HashWords = Annotated[tuple[Int32 | None, ...], pa.list_(pa.int32())]
"""32 bits per frame, as signed integers; null for a frame without a fingerprint."""
