"""Cache of finished calls, one small file each: an interrupted run loses at most the calls in flight.

    FOLDER/<key[:2]>/<key>.json      the response with a checksum; the key is a hash of the request id

Failed calls are not cached. A truncated or changed file counts as missing. Threads and processes may share a folder:
files are written atomically, the last write wins.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from xsheet.annotate.vlm.client import VlmClient, VlmRequest, VlmResponse
from xsheet.schemas.files import write_bytes
from xsheet.schemas.ids import content_key

log = logging.getLogger(__name__)
_RESPONSE: TypeAdapter[VlmResponse] = TypeAdapter(VlmResponse)


class CachedVlmClient:
    """A VlmClient that caches the responses of another one."""

    def __init__(self, client: VlmClient, folder: Path) -> None:
        self._client = client
        self._folder = folder

    def __call__(self, requests: Sequence[VlmRequest], /) -> Iterator[VlmResponse]:
        """Yield the cached responses, then those of the client; each is cached as it arrives.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        missing = []
        for request in requests:
            cached = self.find(request.request_id)
            if cached is None:
                missing.append(request)
            else:
                yield cached
        for response in self._client(missing) if missing else ():
            if response.error is None:
                self.store(response)
            yield response

    def find(self, request_id: str) -> VlmResponse | None:
        """The cached response to a request, or None."""
        try:
            digest, _, body = self._path(request_id).read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError("the checksum differs")
            response = _RESPONSE.validate_json(body)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning("unreadable cache file, the call is repeated request=%r: %s", request_id[:80], error)
            return None
        return response if response.request_id == request_id else None

    def store(self, response: VlmResponse) -> None:
        """Write a response atomically."""
        body = _RESPONSE.dump_json(response)
        write_bytes(self._path(response.request_id), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def _path(self, request_id: str) -> Path:
        name = content_key(request_id)
        return self._folder / name[:2] / f"{name}.json"
