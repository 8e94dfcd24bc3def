"""Build and open the cache of a set.

    built = build_cache(set_folder, settings, execution=Execution(jobs=2))
    cache = open_cache(set_folder, built.spec)

    SET/cache/<fingerprint>.json    the CacheSpec
    SET/cache/...                   tensors: xsheet.train.data.cache.files
    SET/features/part-<fingerprint>-00000.parquet    one row per clip; a set can have caches of several specs

An interrupted build resumes: committed clips are not encoded again.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from xsheet.runtime.executor import Execution, Progress, run_task
from xsheet.runtime.lock import write_lock
from xsheet.schemas import tables
from xsheet.schemas.clip import Feature
from xsheet.schemas.errors import ConfigError, ContractError, RunError
from xsheet.schemas.files import read_json, write_text
from xsheet.schemas.layers import find_layer
from xsheet.schemas.sets import build_manifest, open_set
from xsheet.schemas.time import CLIP_RATE
from xsheet.train.data.cache.files import TensorStore, cache_folders, cached_text, null_prompt_entry
from xsheet.train.data.cache.fingerprint import CacheSpec, cache_spec, spec_differences
from xsheet.train.data.cache.items import CacheItems
from xsheet.train.data.cache.task import CacheTask, RoundTrip
from xsheet.train.data.encoders import open_encoders
from xsheet.train.data.framing import Bucket
from xsheet.train.data.settings import CacheSettings

DISTRIBUTIONS = ("xsheet", "numpy", "torch", "diffusers", "transformers", "safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The cached clips of one CacheSpec."""

    set_folder: Path
    spec: CacheSpec
    features: tuple[Feature, ...]  # by clip


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheBuildResult:
    """Result of a build."""

    spec: CacheSpec
    clip_count: int
    annotated_count: int  # of these, with phases
    hidden_phase_count: int  # phases of arms and shoulders outside the crops, left out of the texts
    buckets: Mapping[Bucket, int]
    rejected_by_reason: Mapping[str, int]  # by reason
    failed_count: int
    psnr_db: tuple[float, ...]  # of the clips that were decoded again
    seconds: float


def build_cache(
    set_folder: Path,
    settings: CacheSettings,
    *,
    execution: Execution,
    device: str = "cpu",
    limit: int | None = None,
    retry_failed: bool = False,
    shows_progress: bool = True,
) -> CacheBuildResult:
    """Encode the clips of a set; clips that are encoded already are skipped.

    Raises:
        ConfigError: the layer is not there, the weights do not open, or the encoders do not fit the model.
        ContractError: no set, no clips, or clips that are not at 25 fps.
        RunError: another process writes to the set, the run cannot continue, or decoded latents do not match the clips.
    """
    _check_rate(set_folder)
    with write_lock(set_folder):
        return _build_cache(
            set_folder, settings, execution=execution, device=device, limit=limit, retry_failed=retry_failed,
            progress=Progress("cache") if shows_progress else None,
        )  # fmt: skip


def _build_cache(
    set_folder: Path,
    settings: CacheSettings,
    *,
    execution: Execution,
    device: str,
    limit: int | None,
    retry_failed: bool,
    progress: Progress | None,
) -> CacheBuildResult:
    started = datetime.now(UTC)
    layer = None if settings.text.layer is None else find_layer(set_folder, settings.text.layer)
    encoders = open_encoders(settings)
    spec = cache_spec(settings, encoders, layer=None if layer is None else str(layer))
    _write_spec(set_folder, spec)
    tensors = TensorStore(set_folder)
    if null_prompt_entry(spec) not in tensors:
        tensors.save(null_prompt_entry(spec), {"null": cached_text(encoders.text.tokenize("").ids_M, encoders.text)})
    task = CacheTask(settings, spec, set_folder=set_folder, device=device)
    items = CacheItems(set_folder, layer, spec, settings=settings, limit=limit)
    done = run_task(task, items, out=set_folder, execution=execution, retry_failed=retry_failed, progress=progress)
    tensors.compact(cache_folders(spec))
    features = sorted(done.rows(Feature), key=lambda row: row.clip_id)
    rejected = Counter(one.reason or "" for one in done.outcomes() if one.status == "rejected")
    _check_not_empty(set_folder, features, rejected, failed=done.counts.get("failed", 0))
    _check_entries(tensors, features)
    psnr_db = tuple(row.psnr_db for row in done.rows(RoundTrip))
    _check_round_trip(psnr_db, settings)
    tables.write_file(_features_file(set_folder, spec), tables.FEATURES, features)
    built = CacheBuildResult(
        spec=spec,
        clip_count=len(features),
        annotated_count=sum(row.annotation_id is not None for row in features),
        hidden_phase_count=sum(row.hidden_phases for row in features),
        buckets=Counter(bucket_of(row) for row in features),
        rejected_by_reason=rejected,
        failed_count=done.counts.get("failed", 0),
        psnr_db=psnr_db,
        seconds=(datetime.now(UTC) - started).total_seconds(),
    )
    build_manifest(
        "train cache", arguments={"jobs": execution.jobs, "ray": execution.ray, "limit": limit}, settings=settings,
        distributions=DISTRIBUTIONS, started=started, seconds={"cache": built.seconds},
        counts={"clips": built.clip_count, "failed": built.failed_count} | dict(built.rejected_by_reason),
    ).write(set_folder)  # fmt: skip
    return built


def _spec_in_words(file: Path) -> dict[str, Any]:
    try:
        spec: dict[str, Any] = read_json(file)
        spec["fingerprint"][:16]
    except (ValueError, KeyError, TypeError) as error:
        got, hint = f"{type(error).__name__}: {error}"[:200], "remove the file and run `xsheet train cache SET`"
        raise ContractError(where=str(file), expected="the description of a cache", got=got, hint=hint) from error
    return spec


def open_cache(set_folder: Path, spec: CacheSpec) -> Cache:
    """Open the features of exactly this spec.

    Raises:
        ConfigError: no cache, or only with other settings; the error names both fingerprints and the differences.
    """
    file = _features_file(set_folder, spec)
    if file.exists():
        features = tables.from_arrow(tables.read_file(file, tables.FEATURES), tables.FEATURES)
        return Cache(set_folder=set_folder, spec=spec, features=tuple(features))
    others = [_spec_in_words(path) for path in sorted((set_folder / "cache").glob("*.json"))]
    if not others:
        raise ConfigError(
            where=str(set_folder), expected="a cache of features", got="none",
            hint="run `xsheet train cache SET` with the same settings first",
        )  # fmt: skip
    nearest = min(others, key=lambda one: len(spec_differences(spec, one)))
    got = f"{nearest['fingerprint'][:16]} ({'; '.join(spec_differences(spec, nearest)) or 'unfinished'})"
    raise ConfigError(
        where=f"cache of {set_folder}", expected=f"fingerprint {spec.fingerprint[:16]}", got=got,
        hint="run `xsheet train cache` with these settings, or train with those of the cache",
    )  # fmt: skip


def null_text(cache: Cache) -> Tensor:
    """The null prompt as cached: ids (M,) or (M, W), or vectors (M, E)."""
    return TensorStore(cache.set_folder).read(null_prompt_entry(cache.spec))["null"]


def bucket_of(feature: Feature) -> Bucket:
    """Bucket of a cached clip."""
    return Bucket(feature.frames, feature.height, feature.width)


def _check_rate(set_folder: Path) -> None:
    fps = open_set(set_folder).clip.fps
    if fps != CLIP_RATE.num:
        raise ContractError(
            where=str(set_folder), expected=f"clips at {CLIP_RATE} fps", got=f"{fps} fps",
            hint="curate the sources again with this xsheet",
        )  # fmt: skip


def _check_not_empty(
    set_folder: Path, features: Sequence[Feature], rejected: Mapping[str, int], *, failed: int
) -> None:
    if not features:
        why = ", ".join(f"{count} {reason}" for reason, count in [*rejected.items(), ("failed", failed)] if count)
        raise ContractError(
            where=str(set_folder), expected="clips that can be encoded", got=f"none ({why})",
            hint="allow shorter or smaller clips (cache.picture), or curate clips with audio",
        )  # fmt: skip


def _check_entries(tensors: TensorStore, features: Sequence[Feature]) -> None:
    lost = next((row.tensor_entry for row in features if Path(row.tensor_entry) not in tensors), None)
    if lost is not None:
        raise ContractError(
            where=lost, expected="the tensors that an earlier run wrote", got="none",
            hint="remove the folder .commits/cache of the set and run again",
        )  # fmt: skip


def _check_round_trip(psnr_db: Sequence[float], settings: CacheSettings) -> None:
    if psnr_db and min(psnr_db) < settings.round_trip.min_psnr_db:
        raise RunError(
            where="decoded latents", expected=f"at least {settings.round_trip.min_psnr_db} dB",
            got=f"{min(psnr_db):.1f} dB",
            hint="check that the weights are of Wan's VAE, or lower cache.round_trip.min_psnr_db",
        )  # fmt: skip


def _write_spec(set_folder: Path, spec: CacheSpec) -> None:
    description = {"fingerprint": spec.fingerprint} | spec.sections
    path = set_folder / "cache" / f"{spec.fingerprint[:16]}.json"
    write_text(path, json.dumps(description, indent=2, sort_keys=True) + "\n")


def _features_file(set_folder: Path, spec: CacheSpec) -> Path:
    return set_folder / tables.FEATURES.name / f"part-{spec.fingerprint[:16]}-00000.parquet"
