"""Finished calls, a small file each: a kill loses at most the call in hand, and a rerun pays for none twice.

    FOLDER/<key[:2]>/<key>.json      what was said, with a check sum; the key is the hash of the turn's id

A call that failed is not kept, for it may come out better. A file that is cut short or changed is as good as not there.
Threads and processes may share a folder: a file appears whole, the last one wins.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from xsheet.annotate.vlm.client import Chat, Said, Turn
from xsheet.schemas.ids import content_key
from xsheet.schemas.tables import write_bytes

log = logging.getLogger(__name__)
_SAID: TypeAdapter[Said] = TypeAdapter(Said)


class KeptChat:
    """A Chat that remembers what another one said; the first pass stays on record beside the second."""

    def __init__(self, chat: Chat, folder: Path) -> None:
        self._chat = chat
        self._folder = folder

    def __call__(self, turns: Sequence[Turn], /) -> Iterator[Said]:
        """One Said to every turn: those that are kept, then those of the chat, each kept as it arrives.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        left = []
        for turn in turns:
            known = self.find(turn.turn_id)
            if known is None:
                left.append(turn)
            else:
                yield known
        for said in self._chat(left) if left else ():
            if said.error is None:
                self.keep(said)
            yield said

    def find(self, turn_id: str) -> Said | None:
        """What was said to a turn; None when there is nothing that can be read."""
        try:
            digest, _, body = self._path(turn_id).read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError("the check sum differs")
            said = _SAID.validate_json(body)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning("a kept reply cannot be read and is asked for again turn=%r: %s", turn_id[:80], error)
            return None
        return said if said.turn_id == turn_id else None

    def keep(self, said: Said) -> None:
        """Write it, whole or not at all."""
        body = _SAID.dump_json(said)
        write_bytes(self._path(said.turn_id), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def _path(self, turn_id: str) -> Path:
        name = content_key(turn_id)
        return self._folder / name[:2] / f"{name}.json"
