"""Optional model files: list, verify by hash, download.

Only `pull_model` uses the network. No file is downloaded or opened without a SHA-256 to check it against; where none is
published the user supplies one, stored beside the file as `NAME.sha256` in the format of sha256sum.
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
from xsheet.schemas.files import atomic_path, write_text
from xsheet.schemas.ids import file_sha256

ModelFileStatus = Literal["absent", "present", "verified", "mismatch", "no_hash"]
SYNCNET_WEIGHTS = "syncnet_v2.safetensors"  # made by `xsheet models convert`
LIGHT_ASD_WEIGHTS = "light_asd.safetensors"  # made by `xsheet models convert --network light_asd`
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
    sha256: str | None  # None: none is published
    url: str | None  # None: no official address known
    note: str = ""


KNOWN_MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        name="face-landmarker.task",
        purpose="face landmarks by the MediaPipe Tasks API: adds 52 blendshapes",
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
        purpose="likelihood of music by YAMNet, with the extra `music`; instruments are found without it",
        licence="Apache-2.0",
        size_bytes=4_078_224,
        sha256="469be6a3421cbc52cf97e9f2f966cba984198e8e7af9854d68b3e3ebb1e04194",
        url=None,
        note="several builds exist; this hash is the one that was tested",
    ),
    KnownModel(
        name=SYNCNET_WEIGHTS,
        purpose="sync of lips and voice by SyncNet, in place of the built-in scorer",
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
    KnownModel(
        name=LIGHT_ASD_WEIGHTS,
        purpose="active speaker among several faces by Light-ASD",
        licence="MIT",
        size_bytes=None,
        sha256=None,
        url=None,
        note="made from light-asd-finetuning-talkset.model by `xsheet models convert`, which keeps its hash beside it",
    ),
    KnownModel(
        name="light-asd-finetuning-talkset.model",
        purpose="active speaker by Light-ASD; convert it to safetensors before use",
        licence="MIT",
        size_bytes=4_175_289,
        sha256="efc375833887eefa9d209dc92810e18519b04c3c73ea35a549f2a7f40b7d94d5",
        url="https://raw.githubusercontent.com/Junhua-Liao/Light-ASD/main/weight/finetuning_TalkSet.model",
    ),
    KnownModel(
        name="pose_landmarker_lite.task",
        purpose="joints of the body by the lite network",
        licence="Apache-2.0",
        size_bytes=5_777_746,
        sha256="59929e1d1ee95287735ddd833b19cf4ac46d29bc7afddbbf6753c459690d574a",
        url="https://storage.googleapis.com/mediapipe-models/pose_landmarker/pose_landmarker_lite/float16/1/pose_landmarker_lite.task",
        note="the hash is the one other public projects pin",
    ),
    KnownModel(
        name="pose_landmarker_heavy.task",
        purpose="joints of the body by the heavy network",
        licence="Apache-2.0",
        size_bytes=30_664_242,
        sha256="64437af838a65d18e5ba7a0d39b465540069bc8aae8308de3e318aad31fcbc7b",
        url="https://storage.googleapis.com/mediapipe-models/pose_landmarker/pose_landmarker_heavy/float16/1/pose_landmarker_heavy.task",
        note="the hash is the one other public projects pin",
    ),
    KnownModel(
        name="hand_landmarker.task",
        purpose="points of the hands by the published bundle",
        licence="Apache-2.0",
        size_bytes=7_819_105,
        sha256="fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1",
        url="https://storage.googleapis.com/mediapipe-models/hand_landmarker/hand_landmarker/float16/1/hand_landmarker.task",
        note="the hash is the one other public projects pin",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFileState:
    """One known model in one folder."""

    model: KnownModel
    status: ModelFileStatus
    sha256: str | None = None  # of the file, where it was read


class DownloadProgress(Protocol):
    """Callback during a download."""

    def __call__(self, done_bytes: int, total_bytes: int | None, /) -> None:
        """Report the bytes received so far and the total, if known."""
        ...


def list_models(folder: Path) -> list[ModelFileState]:
    """Report which known models the folder holds, without reading them."""
    return [
        ModelFileState(model=m, status="present" if (folder / m.name).is_file() else "absent") for m in KNOWN_MODELS
    ]


def verify_models(folder: Path) -> list[ModelFileState]:
    """Check every known model in the folder against its hash."""
    return [_verify_model(model, folder) for model in KNOWN_MODELS]


def model_hashes(folder: Path | None) -> dict[str, str]:
    """Name and SHA-256 of each model that the decode uses where it is there; part of the key of its results.

    Those of SyncNet, Light-ASD and the body are not among them: a run reads them only if it chooses them.
    """
    if folder is None:
        return {}
    chosen = ("syncnet", "light", "pose", "hand")
    names = [model.name for model in KNOWN_MODELS if not model.name.startswith(chosen)]
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


def read_model(folder: Path, name: str) -> bytes:
    """Read a model and verify its hash; the bytes returned are the bytes hashed.

    Raises:
        ConfigError: the file is missing, has no known hash, or its hash differs.
    """
    path, expected = folder / name, _expected_sha256(find_model(name), folder)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            where=str(path),
            expected="a model file",
            got=error.strerror or str(error),
            hint=f"xsheet models pull {name}",
        ) from error
    if expected is None:
        raise _missing_sha256_error(name, where=str(path))
    _check_sha256(path, hashlib.sha256(data).hexdigest(), expected)
    return data


def find_model(name: str) -> KnownModel:
    """Return the known model of this name, or raise ConfigError."""
    for model in KNOWN_MODELS:
        if model.name == name:
            return model
    names = ", ".join(model.name for model in KNOWN_MODELS)
    raise ConfigError(where="models", expected=f"one of {names}", got=repr(name), hint="choose a known model")


def pull_model(
    name: str,
    folder: Path,
    *,
    sha256: str | None = None,
    url: str | None = None,
    max_bytes: int = MAX_BYTES,
    progress: DownloadProgress | None = None,
) -> Path:
    """Download a model into the folder unless present; the file gets its final name only after the hash check.

    Args:
        name: a known model.
        folder: the models folder; created if missing.
        sha256: expected hash; required where none is known, and refused if it differs from the known one.
        url: http or https address; None uses the known one.
        max_bytes: upper bound of the download.
        progress: called after each chunk.

    Raises:
        ConfigError: hash or address missing or malformed, or the file has another hash.
        RunError: the network or the disk failed.
    """
    model, path = find_model(name), folder / name
    expected = _check_given_sha256(model, sha256) or _expected_sha256(model, folder)
    if expected is None:
        raise _missing_sha256_error(name, where="models pull")
    if path.is_file():
        _check_sha256(path, file_sha256(path), expected)
    else:
        _download(_download_url(model, url), path, expected=expected, max_bytes=max_bytes, progress=progress)
    if model.sha256 is None:
        write_text(_hash_path(path), f"{expected}  {name}\n")
    return path


def _verify_model(model: KnownModel, folder: Path) -> ModelFileState:
    path = folder / model.name
    if not path.is_file():
        return ModelFileState(model=model, status="absent")
    expected, actual = _expected_sha256(model, folder), file_sha256(path)
    if expected is None:
        return ModelFileState(model=model, status="no_hash", sha256=actual)
    return ModelFileState(model=model, status="verified" if actual == expected else "mismatch", sha256=actual)


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _expected_sha256(model: KnownModel, folder: Path) -> str | None:
    """The published hash, else the one the user stored beside the file."""
    side = _hash_path(folder / model.name)
    if model.sha256 is not None or not side.is_file():
        return model.sha256
    return _parse_sha256(side.read_text(encoding="utf-8", errors="replace").partition(" ")[0].strip(), where=str(side))


def _check_given_sha256(model: KnownModel, sha256: str | None) -> str | None:
    if sha256 is None:
        return model.sha256
    sha256 = _parse_sha256(sha256, where="models pull --sha256")
    if model.sha256 not in (None, sha256):
        raise ConfigError(
            where=f"models pull {model.name}",
            expected=f"the known sha256 {model.sha256}",
            got=sha256,
            hint="leave --sha256 out",
        )
    return sha256


def _parse_sha256(text: str, *, where: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text.lower()):
        raise ConfigError(
            where=where, expected="64 hex digits", got=repr(text[:80]), hint="give the SHA-256 of the file"
        )
    return text.lower()


def _missing_sha256_error(name: str, *, where: str) -> ConfigError:
    hint = f"xsheet models pull {name} --sha256 HEX, with a hash from a trusted source"
    return ConfigError(where=where, expected=f"a SHA-256 to check {name} against", got="none", hint=hint)


def _check_sha256(path: Path, actual: str, expected: str) -> None:
    if actual != expected:
        raise ConfigError(
            where=str(path), expected=f"sha256 {expected}", got=f"sha256 {actual}", hint="remove the file"
        )


def _download_url(model: KnownModel, url: str | None) -> str:
    address = url or model.url or ""
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise ConfigError(
            where=f"models pull {model.name}",
            expected="an http or https address",
            got=repr(address),
            hint="give --url",
        )
    return address


def _download(url: str, path: Path, *, expected: str, max_bytes: int, progress: DownloadProgress | None) -> None:
    digest, done = hashlib.sha256(), 0
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as out:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
                length = response.headers.get("Content-Length", "")
                while chunk := response.read(_CHUNK_BYTES):
                    done += len(chunk)
                    if done > max_bytes:
                        got = f"more than {max_bytes} bytes"
                        raise RunError(where=url, expected="a smaller model file", got=got, hint="check the address")
                    digest.update(chunk)
                    out.write(chunk)
                    if progress is not None:
                        progress(done, int(length) if length.isdigit() else None)
            out.flush()
            os.fsync(out.fileno())
            _check_sha256(path, digest.hexdigest(), expected)
    except (OSError, urllib.error.URLError) as error:
        raise RunError(where=url, expected=f"the file {path.name}", got=str(error), hint="try again later") from error
