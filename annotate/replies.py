"""Finished replies, a small file each: a kill loses at most the reply in hand, and a rerun pays for no reply twice.

    FOLDER/<key[:2]>/<key>.json      what came, with a check sum; the key is the hash of the ask's or the turn's id

A reply that cost nothing or might come out better is not kept: status `error` or `skipped`. A file that is cut short
or changed is as good as not there. Threads and processes may share a folder: a file appears whole, the last one wins.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from xsheet.annotate.ask import Annotator, Ask, Reply
from xsheet.annotate.chat import Chat, Said, Turn
from xsheet.schemas.atomic import write_bytes
from xsheet.schemas.ids import content_key

log = logging.getLogger(__name__)
A = TypeVar("A", Reply, Said)


class _Folder(Generic[A]):
    """Answers of one type by their id."""

    def __init__(self, folder: Path, kind: type[A], key: Callable[[A], str]) -> None:
        self._folder = folder
        self._adapter: TypeAdapter[A] = TypeAdapter(kind)
        self._key: Callable[[A], str] = key

    def find(self, key: str) -> A | None:
        """The answer of this id; None when there is none that can be read."""
        try:
            digest, _, body = self._path(key).read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError("the check sum differs")
            answer = self._adapter.validate_json(body)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning("a stored reply cannot be read and is asked for again key=%r: %s", key[:80], error)
            return None
        return answer if self._key(answer) == key else None

    def keep(self, answer: A) -> None:
        """Write it, whole or not at all.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        body = self._adapter.dump_json(answer)
        write_bytes(self._path(self._key(answer)), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def _path(self, key: str) -> Path:
        name = content_key(key)
        return self._folder / name[:2] / f"{name}.json"


class ReplyStore:
    """Finished replies of one annotation run by ask id, below a folder of the set."""

    def __init__(self, folder: Path) -> None:
        self._kept: _Folder[Reply] = _Folder(folder, Reply, lambda reply: reply.ask_id)

    def find(self, ask_id: str) -> Reply | None:
        """The finished reply to an ask, if there is one."""
        return self._kept.find(ask_id)

    def keep(self, reply: Reply) -> None:
        """Keep a reply if it is finished. Raises OSError when the folder cannot be written."""
        if reply.status not in ("error", "skipped"):
            self._kept.keep(reply)

    def ask(self, annotator: Annotator, asks: Sequence[Ask]) -> Iterator[Reply]:
        """One reply to every ask: those that are kept, then those of the annotator, each kept as it arrives."""
        left = []
        for ask in asks:
            known = self.find(ask.ask_id)
            if known is None:
                left.append(ask)
            else:
                yield known
        for reply in annotator(left) if left else ():
            self.keep(reply)
            yield reply


class TurnStore:
    """A Chat that remembers: pass A is not paid again when pass B was killed, and its text stays on record."""

    def __init__(self, chat: Chat, folder: Path) -> None:
        self._chat = chat
        self._kept: _Folder[Said] = _Folder(folder, Said, lambda said: said.turn_id)

    def __call__(self, turns: Sequence[Turn], /) -> Iterator[Said]:
        """One Said to every turn: those that are kept, then those of the chat, each kept as it arrives."""
        left = []
        for turn in turns:
            known = self._kept.find(turn.turn_id)
            if known is None:
                left.append(turn)
            else:
                yield known
        for said in self._chat(left) if left else ():
            if said.error is None:
                self._kept.keep(said)
            yield said
