"""Optional model files: which are known, which are there, whether they are what they should be, and how to get one.

Nothing is fetched unless `pull` is called, and nothing is fetched or opened without a SHA-256 to check it against.
Where no hash is published, the user gives one; it is kept beside the file as `NAME.sha256`, as sha256sum writes it.
"""

import hashlib
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.tables import replacing, write_text

State = Literal["absent", "present", "verified", "wrong", "unpinned"]
SYNCNET = "syncnet_v2.safetensors"  # made by `xsheet models convert`
MAX_BYTES = 256 * 2**20
_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model file that a part of xsheet can use."""

    name: str  # of the file in the models folder
    purpose: str
    licence: str
    size_bytes: int | None
    sha256: str | None  # None: nobody publishes one
    url: str | None  # None: no official address known
    note: str = ""


KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        name="face-landmarker.task",
        purpose="faces by the MediaPipe Tasks API: adds 52 blendshapes",
        licence="Apache-2.0",
        size_bytes=3_758_596,
        sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
    ),
    KnownModel(
        name="text-detection-en-ppocrv3-2023may.onnx",
        purpose="likelihood of burnt-in text",
        licence="Apache-2.0",
        size_bytes=2_423_490,
        sha256="03f550c6b406fda8bf54bd8327815f6c7e2edd98cea02348c93d879254366587",
        url="https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/text_detection_ppocr/text_detection_en_ppocrv3_2023may.onnx",
    ),
    KnownModel(
        name="yamnet.tflite",
        purpose="likelihood of music",
        licence="Apache-2.0",
        size_bytes=4_078_224,
        sha256="469be6a3421cbc52cf97e9f2f966cba984198e8e7af9854d68b3e3ebb1e04194",
        url=None,
        note="several builds exist; this hash is the one that was tested",
    ),
    KnownModel(
        name=SYNCNET,
        purpose="sync of lips and voice by SyncNet, in place of the embedded scorer",
        licence="none stated; ask the authors before commercial use",
        size_bytes=None,
        sha256=None,
        url=None,
        note="made from syncnet_v2.model by `xsheet models convert`, which keeps its hash beside it",
    ),
    KnownModel(
        name="syncnet_v2.model",
        purpose="sync of lips and voice by SyncNet; convert it to safetensors before use",
        licence="none stated; ask the authors before commercial use",
        size_bytes=None,
        sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
        url="https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
        note="the hash is the one other public projects pin; the authors publish none",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """One known model in one folder."""

    model: KnownModel
    state: State
    sha256: str | None = None  # of the file, where it was read


class Progress(Protocol):
    """Called while a model is fetched."""

    def __call__(self, done_bytes: int, total_bytes: int | None, /) -> None:
        """So many bytes are here, of so many."""
        ...


def list_models(folder: Path) -> list[ModelState]:
    """Which known models the folder holds; reads none of them."""
    return [ModelState(model=m, state="present" if (folder / m.name).is_file() else "absent") for m in KNOWN]


def verify(folder: Path) -> list[ModelState]:
    """Every known model of the folder against its hash."""
    return [_verified(model, folder) for model in KNOWN]


def fingerprint_of(folder: Path | None) -> dict[str, str]:
    """Name and SHA-256 of the known models in a folder: what results may depend on."""
    if folder is None:
        return {}
    return {model.name: file_sha256(folder / model.name) for model in KNOWN if (folder / model.name).is_file()}


def read_model(folder: Path, name: str) -> bytes:
    """The bytes of a model, checked: what is hashed is what is handed out.

    Raises:
        ConfigError: the file is missing, has no hash to check it against, or has another one.
    """
    path, expected = folder / name, _pinned(known(name), folder)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            where=str(path),
            expected="a model file",
            came=error.strerror or str(error),
            todo=f"xsheet models pull {name}",
        ) from error
    if expected is None:
        raise _unpinned(name, where=str(path))
    _check(path, hashlib.sha256(data).hexdigest(), expected)
    return data


def known(name: str) -> KnownModel:
    """The model of a name; ConfigError for any other."""
    for model in KNOWN:
        if model.name == name:
            return model
    names = ", ".join(model.name for model in KNOWN)
    raise ConfigError(where="models", expected=f"one of {names}", came=repr(name), todo="choose a known model")


def pull(
    name: str,
    folder: Path,
    *,
    sha256: str | None = None,
    url: str | None = None,
    max_bytes: int = MAX_BYTES,
    progress: Progress | None = None,
) -> Path:
    """Fetch a model into the folder unless it is there; it appears under its name only after its hash was checked.

    Args:
        name: of a known model.
        folder: where models are kept; made where missing.
        sha256: what it must have; needed where none is known, refused where it differs from the known one.
        url: http or https; the known address when None.
        max_bytes: more than this is not read.
        progress: told how far it is.

    Raises:
        ConfigError: no hash, no address, a malformed one, or a file of another hash.
        RunError: the network or the disk failed.
    """
    model, path = known(name), folder / name
    expected = _agreed(model, sha256) or _pinned(model, folder)
    if expected is None:
        raise _unpinned(name, where="models pull")
    if path.is_file():
        _check(path, file_sha256(path), expected)
    else:
        _fetch(_address(model, url), path, expected=expected, max_bytes=max_bytes, progress=progress)
    if model.sha256 is None:
        write_text(_side(path), f"{expected}  {name}\n")
    return path


def _verified(model: KnownModel, folder: Path) -> ModelState:
    path = folder / model.name
    if not path.is_file():
        return ModelState(model=model, state="absent")
    expected, found = _pinned(model, folder), file_sha256(path)
    if expected is None:
        return ModelState(model=model, state="unpinned", sha256=found)
    return ModelState(model=model, state="verified" if found == expected else "wrong", sha256=found)


def _side(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _pinned(model: KnownModel, folder: Path) -> str | None:
    """The hash a file must have: the known one, else the one its user gave."""
    side = _side(folder / model.name)
    if model.sha256 is not None or not side.is_file():
        return model.sha256
    return _hex(side.read_text(encoding="utf-8", errors="replace").partition(" ")[0].strip(), where=str(side))


def _agreed(model: KnownModel, given: str | None) -> str | None:
    if given is None:
        return model.sha256
    given = _hex(given, where="models pull --sha256")
    if model.sha256 not in (None, given):
        raise ConfigError(
            where=f"models pull {model.name}",
            expected=f"the known sha256 {model.sha256}",
            came=given,
            todo="leave --sha256 out",
        )
    return given


def _hex(text: str, *, where: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text.lower()):
        raise ConfigError(
            where=where, expected="64 hex digits", came=repr(text[:80]), todo="give the SHA-256 of the file"
        )
    return text.lower()


def _unpinned(name: str, *, where: str) -> ConfigError:
    todo = f"xsheet models pull {name} --sha256 HEX, with a hash from a place you trust"
    return ConfigError(where=where, expected=f"a SHA-256 to check {name} against", came="none", todo=todo)


def _check(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise ConfigError(
            where=str(path), expected=f"sha256 {expected}", came=f"sha256 {found}", todo="remove the file"
        )


def _address(model: KnownModel, url: str | None) -> str:
    address = url or model.url or ""
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise ConfigError(
            where=f"models pull {model.name}",
            expected="an http or https address",
            came=repr(address),
            todo="give --url",
        )
    return address


def _fetch(url: str, path: Path, *, expected: str, max_bytes: int, progress: Progress | None) -> None:
    digest, done = hashlib.sha256(), 0
    try:
        with replacing(path) as temporary, temporary.open("wb") as out:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply:
                length = reply.headers.get("Content-Length", "")
                while chunk := reply.read(_CHUNK_BYTES):
                    done += len(chunk)
                    if done > max_bytes:
                        came = f"more than {max_bytes} bytes"
                        raise RunError(where=url, expected="a smaller model file", came=came, todo="check the address")
                    digest.update(chunk)
                    out.write(chunk)
                    if progress is not None:
                        progress(done, int(length) if length.isdigit() else None)
            out.flush()
            os.fsync(out.fileno())
            _check(path, digest.hexdigest(), expected)
    except (OSError, urllib.error.URLError) as error:
        raise RunError(where=url, expected=f"the file {path.name}", came=str(error), todo="try again later") from error
