"""Fingerprint, NearDuplicate and Split: which sources show the same thing, and what may be trained and tested on."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from xsheet.schemas.fields import RECORD, Count, Id, Int32, Share, Str, Words

SplitName = Literal["train", "val", "test"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """How picture and sound of a source change, 32 bits a frame at 25 fps; alike in copies, whatever their encoding.

    Bit k of a word (the highest first) tells whether one difference of neighbouring fields (of the picture, or bands of
    the sound) grew. Null where nothing changes or sounds.
    """

    TAG: ClassVar[str] = "fingerprint"
    source_id: Annotated[Id, "source"]
    extractor: Annotated[Str, "what made it, with version; only equal ones can be compared"]
    frames: Annotated[Count, "frames at 25 fps"]
    picture: Annotated[Words, "one per frame, empty when there is no picture"] = ()
    sound: Annotated[Words, "one per frame, empty when there is no sound"] = ()


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """Two sources that share most of the shorter one's picture or sound, with the evidence."""

    group: Annotated[Id, "smallest source id of all that hang together"]
    source_id: Annotated[Id, "source"]
    other_id: Annotated[Id, "source that shows or sounds the same"]
    by: Annotated[Literal["picture", "sound"], "what they share"]
    lag_frames: Annotated[Int32, "frame of the source less frame of the other that match"]
    matched_frames: Annotated[Count, Field(gt=0), "frames that match"]
    bit_error: Annotated[Share, "share of different bits in those; 0.5 for strangers"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Split:
    """What a clip is for. All clips of a cluster are for the same."""

    clip_id: Annotated[Id, "clip"]
    source_id: Annotated[Id, "source"]
    cluster: Annotated[Id, "smallest source id of all sources that share a person or are near duplicates"]
    split: Annotated[SplitName, "train, val or test"]
    identity_by: Annotated[Str, "what told people apart: a shape model with version, or 'source'"]
