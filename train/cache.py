"""A set to features, and features found again.

    built = build_cache(set_folder, settings, how=Execution(jobs=2))
    cache = open_cache(set_folder, built.recipe)

    SET/cache/<fingerprint>.json    the recipe, in words
    SET/cache/...                   tensors: xsheet.train.cache_files
    SET/features/part-<fingerprint>-00000.parquet    one row per clip; caches of several recipes stand side by side

Encoding is resumed like every task of xsheet: what is committed is not done again.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from xsheet.execute import Execution, Item, Progress, run
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.atomic import write_text
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ConfigError, ContractError, RunError
from xsheet.schemas.ids import content_key
from xsheet.schemas.layers import LayerRun, find_layer
from xsheet.schemas.manifest import manifest
from xsheet.schemas.run import Feature
from xsheet.schemas.sets import open_set
from xsheet.schemas.time import CLIP_RATE
from xsheet.train.cache_files import null_path, read, save, text_row
from xsheet.train.cache_task import CacheTask, ClipJob, RoundTrip
from xsheet.train.encoders import open_encoders
from xsheet.train.framing import Bucket, Framing, frame
from xsheet.train.masks import Face
from xsheet.train.recipe import Recipe, differences, recipe_of
from xsheet.train.settings import CacheSettings

DISTRIBUTIONS = ("xsheet", "numpy", "torch", "diffusers", "transformers", "safetensors")
_FACE = {"x_T": "head_x", "y_T": "head_y", "height_T": "head_height", "roll_deg_T": "roll_deg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The cached clips of one recipe."""

    set_folder: Path
    recipe: Recipe
    features: tuple[Feature, ...]  # by clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a run left behind."""

    recipe: Recipe
    clips: int
    annotated: int  # of these, with phases
    buckets: Mapping[Bucket, int]
    rejected: Mapping[str, int]  # by reason
    failed: int
    psnr_db: tuple[float, ...]  # of the clips that were decoded again
    seconds: float


def build_cache(
    set_folder: Path,
    settings: CacheSettings,
    *,
    how: Execution,
    device: str = "cpu",
    limit: int | None = None,
    retry_failed: bool = False,
    shows_progress: bool = True,
) -> Built:
    """Encode the clips of a set.

    Raises:
        ConfigError: the layer is not there, the weights do not open, or the encoders do not fit the model.
        ContractError: no set, no clips, or clips that are not at 25 fps.
        RunError: the run cannot go on, or what was encoded does not decode to what was shown.
    """
    started = datetime.now(UTC)
    _check_rate(set_folder)
    layer = None if settings.text.layer is None else find_layer(set_folder, settings.text.layer)
    encoders = open_encoders(settings)
    recipe = recipe_of(settings, encoders, layer=None if layer is None else str(layer))
    _write_recipe(set_folder, recipe)
    save(set_folder / null_path(recipe), {"null": text_row(encoders.text.tokenize("").ids_M, encoders.text)})
    task = CacheTask(settings, recipe, set_folder=set_folder, device=device)
    items = _Items(set_folder, layer, recipe, settings=settings, limit=limit)
    progress = Progress("cache") if shows_progress else None
    done = run(task, items, out=set_folder, how=how, retry_failed=retry_failed, progress=progress)
    features = sorted(done.rows(Feature), key=lambda row: row.clip_id)
    _check_files(set_folder, features)
    psnr_db = tuple(row.psnr_db for row in done.rows(RoundTrip))
    _check_round_trip(psnr_db, settings)
    tables.write_file(_features_file(set_folder, recipe), tables.FEATURES, features)
    built = Built(
        recipe=recipe,
        clips=len(features),
        annotated=sum(row.annotation_id is not None for row in features),
        buckets=Counter(bucket_of(row) for row in features),
        rejected=Counter(one.reason or "" for one in done.outcomes() if one.status == "rejected"),
        failed=done.counts.get("failed", 0),
        psnr_db=psnr_db,
        seconds=(datetime.now(UTC) - started).total_seconds(),
    )
    manifest(
        "train cache", arguments={"jobs": how.jobs, "ray": how.ray, "limit": limit}, settings=settings,
        distributions=DISTRIBUTIONS, started=started, seconds={"cache": built.seconds},
        counts={"clips": built.clips, "failed": built.failed} | dict(built.rejected),
    ).write(set_folder)  # fmt: skip
    return built


def open_cache(set_folder: Path, recipe: Recipe) -> Cache:
    """The features of exactly this recipe.

    Raises:
        ConfigError: there are none, or only those of another recipe; both fingerprints and what differs are named.
    """
    file = _features_file(set_folder, recipe)
    if file.exists():
        features = tables.from_arrow(tables.read_file(file, tables.FEATURES), tables.FEATURES)
        return Cache(set_folder=set_folder, recipe=recipe, features=tuple(features))
    others = [json.loads(path.read_text()) for path in sorted((set_folder / "cache").glob("*.json"))]
    if not others:
        raise ConfigError(
            where=str(set_folder), expected="a cache of features", came="none",
            todo="run `xsheet train cache SET` with the same settings first",
        )  # fmt: skip
    nearest = min(others, key=lambda one: len(differences(recipe, one)))
    came = f"{nearest['fingerprint'][:16]} ({'; '.join(differences(recipe, nearest)) or 'unfinished'})"
    raise ConfigError(
        where=f"cache of {set_folder}", expected=f"fingerprint {recipe.fingerprint[:16]}", came=came,
        todo="run `xsheet train cache` with these settings, or train with those of the cache",
    )  # fmt: skip


def null_text(cache: Cache) -> Any:
    """What "no text" is: ids (M,) or (M, W), or vectors (M, E), of the null prompt."""
    return read(cache.set_folder / null_path(cache.recipe))["null"]


def bucket_of(feature: Feature) -> Bucket:
    """The bucket that a cached clip stands in."""
    return Bucket(feature.frames, feature.height, feature.width)


class _Items:
    """The clips of a set with what was measured and said, one part of the signals in memory at a time."""

    def __init__(
        self, set_folder: Path, layer: LayerRun | None, recipe: Recipe, *, settings: CacheSettings, limit: int | None
    ) -> None:
        self._set, self._recipe = set_folder, recipe
        clips = sorted(tables.iterate(set_folder, tables.CLIPS), key=lambda clip: clip.clip_id)[:limit]
        if not clips:
            raise ContractError(
                where=str(set_folder), expected="clips", came="none",
                todo="run `xsheet curate run` first; its report says why no clip was kept",
            )  # fmt: skip
        self._clips = {clip.clip_id: clip for clip in clips}
        self._said = {} if layer is None else _said(layer, self._clips)
        likely = [c.clip_id for c in clips if c.samples and isinstance(frame(c, settings.picture, face=None), Framing)]
        self._checked = set(heapq.nsmallest(settings.check.clips, likely, key=lambda one: content_key("check", one)))

    def __len__(self) -> int:
        return len(self._clips)

    def __iter__(self) -> Iterator[Item]:
        left = dict(self._clips)
        for clip_id, face in _faces(self._set):
            clip = left.pop(clip_id, None)
            if clip is not None:
                yield self._item(clip, face)
        for clip in left.values():  # nothing was measured of them
            nowhere = np.full(clip.frames, np.nan, np.float32)
            yield self._item(clip, Face(x_T=nowhere, y_T=nowhere, height_T=nowhere, roll_deg_T=nowhere))

    def _item(self, clip: Clip, face: Face) -> Item:
        is_checked = clip.clip_id in self._checked
        job = ClipJob(clip=clip, face=face, annotation=self._said.get(clip.clip_id), is_checked=is_checked)
        return Item(key=job.key(self._recipe.fingerprint), name=clip.clip_id, payload=job)


def _said(layer: LayerRun, clips: Mapping[str, Clip]) -> dict[str, Annotation]:
    """The annotation of every clip that has a usable one: the first sample, where there are several."""
    said: dict[str, Annotation] = {}
    for row in layer.read():
        if row.clip_id not in clips or row.base is None:
            continue
        if row.media_sha256 not in (None, clips[row.clip_id].media_sha256):
            raise ContractError(
                where=f"{layer}, clip {row.clip_id}", expected="an annotation of the clip's file",
                came="one of another", todo="annotate the set again: its clips were written anew since",
            )  # fmt: skip
        said.setdefault(row.clip_id, row)
    return said


def _faces(set_folder: Path) -> Iterator[tuple[str, Face]]:
    columns = ["clip_id", "frames", *_FACE.values()]
    for file in tables.part_files(set_folder, tables.SIGNALS):
        for row in tables.read_file(file, tables.SIGNALS, columns).to_pylist():
            series = {name: _series(row[column], row["frames"]) for name, column in _FACE.items()}
            yield row["clip_id"], Face(**series)


def _series(values: Sequence[float | None], frames: int) -> Any:
    return np.array([np.nan if v is None else v for v in values] or [np.nan] * frames, np.float32)


def _check_rate(set_folder: Path) -> None:
    fps = open_set(set_folder).clip.fps
    if fps != CLIP_RATE.num:
        raise ContractError(
            where=str(set_folder), expected=f"clips at {CLIP_RATE} fps", came=f"{fps} fps",
            todo="curate the sources again with this xsheet",
        )  # fmt: skip


def _check_files(set_folder: Path, features: Sequence[Feature]) -> None:
    lost = next((row.shard for row in features if not (set_folder / row.shard).exists()), None)
    if lost is not None:
        raise ContractError(
            where=str(set_folder), expected=f"{lost}, which was written once", came="no such file",
            todo="remove the folder .commits/cache of the set and run again",
        )  # fmt: skip


def _check_round_trip(psnr_db: Sequence[float], settings: CacheSettings) -> None:
    if psnr_db and min(psnr_db) < settings.check.min_psnr_db:
        raise RunError(
            where="decoded latents", expected=f"at least {settings.check.min_psnr_db} dB",
            came=f"{min(psnr_db):.1f} dB", todo="check which VAE the weights are of, or lower check.min_psnr_db",
        )  # fmt: skip


def _write_recipe(set_folder: Path, recipe: Recipe) -> None:
    told = {"fingerprint": recipe.fingerprint, "clips": recipe.clips, "texts": recipe.texts}
    path = set_folder / "cache" / f"{recipe.fingerprint[:16]}.json"
    write_text(path, json.dumps(told, indent=2, sort_keys=True) + "\n")


def _features_file(set_folder: Path, recipe: Recipe) -> Path:
    return set_folder / tables.FEATURES.name / f"part-{recipe.fingerprint[:16]}-00000.parquet"
