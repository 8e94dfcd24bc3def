"""Field types of the records: the Python type, its range, and the Arrow type it is stored as, said once.

A record is a frozen, slotted, keyword-only pydantic dataclass with fields `Annotated[<type below>, "<meaning>"]`. The
Arrow schema of a table follows from its record (`tables.arrow_schema`), so the two cannot drift. Strict mode: a float
is not an int, a bool is not an int, NaN and infinity are refused; absence is None, never a sentinel.
"""

from array import array
from typing import Annotated

import pyarrow as pa
from pydantic import AfterValidator, ConfigDict, Field

RECORD = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

Str = Annotated[str, pa.string()]
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$"), pa.string()]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$"), pa.string()]
Bool = Annotated[bool, pa.bool_()]
Int8 = Annotated[int, Field(ge=-(2**7), lt=2**7), pa.int8()]
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


Series = Annotated[tuple[float | None, ...], AfterValidator(_as_float32), pa.list_(pa.float32())]
"""One value per frame at 25 fps; null where nothing was measured (face hidden, hand out of the picture)."""

Words = Annotated[tuple[Int32 | None, ...], pa.list_(pa.int32())]
"""32 bits per frame, as signed integers; null where there is nothing to describe."""
