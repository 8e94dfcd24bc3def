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

from xsheet.annotate.vlm.client import VlmClient, VlmRequest, VlmResponse
from xsheet.schemas.ids import content_key
from xsheet.schemas.tables import write_bytes

log = logging.getLogger(__name__)
_RESPONSE: TypeAdapter[VlmResponse] = TypeAdapter(VlmResponse)


class CachedVlmClient:
    """A Chat that remembers what another one said; the first pass stays on record beside the second."""

    def __init__(self, client: VlmClient, folder: Path) -> None:
        self._client = client
        self._folder = folder

    def __call__(self, requests: Sequence[VlmRequest], /) -> Iterator[VlmResponse]:
        """One Said to every turn: those that are kept, then those of the chat, each kept as it arrives.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        left = []
        for turn in requests:
            known = self.find(turn.request_id)
            if known is None:
                left.append(turn)
            else:
                yield known
        for said in self._client(left) if left else ():
            if said.error is None:
                self.store(said)
            yield said

    def find(self, request_id: str) -> VlmResponse | None:
        """What was said to a turn; None when there is nothing that can be read."""
        try:
            digest, _, body = self._path(request_id).read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError("the check sum differs")
            said = _RESPONSE.validate_json(body)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning("a kept reply cannot be read and is asked for again turn=%r: %s", request_id[:80], error)
            return None
        return said if said.request_id == request_id else None

    def store(self, response: VlmResponse) -> None:
        """Write it, whole or not at all."""
        body = _RESPONSE.dump_json(response)
        write_bytes(self._path(response.request_id), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def _path(self, request_id: str) -> Path:
        name = content_key(request_id)
        return self._folder / name[:2] / f"{name}.json"
