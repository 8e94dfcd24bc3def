"""The dataset of a stage: cached clips of one or several sets, selected by split, annotation and motion."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xsheet.model.phases import NO_PHASE, PAD
from xsheet.schemas import tables
from xsheet.schemas.clip import Feature
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import SplitName
from xsheet.train.data import seeded_random
from xsheet.train.data.batch import Batch
from xsheet.train.data.cache.build import Cache, bucket_of, null_text
from xsheet.train.data.cache.files import TensorStore, extra_conditioning_entry, text_entry
from xsheet.train.data.framing import Bucket
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.data.settings import MotionFilter, StageDatasetSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedClips:
    """The clips of one set for a stage, and why others are excluded."""

    cache: Cache
    features: tuple[Feature, ...]
    excluded: Mapping[str, int]  # how many by why: other_split, not_annotated, too_little_motion


def select_clips(cache: Cache, settings: StageDatasetSettings, *, split: SplitName | None = "train") -> SelectedClips:
    """Select the cached clips of a stage; `split` None selects all splits.

    Raises:
        ConfigError: no split, no clips with phases, or a text that was not cached.
    """
    split_of = _splits(cache.set_folder) if split is not None else {}
    lively = None if settings.motion_filter is None else _moving_clips(cache.set_folder, settings.motion_filter)
    kept: list[Feature] = []
    left_out: Counter[str] = Counter()
    for row in cache.features:
        if split is not None and split_of.get(row.clip_id) != split:
            left_out["other_split"] += 1
        elif settings.text != "brief" and row.annotation_id is None:
            left_out["not_annotated"] += 1
        elif lively is not None and row.clip_id not in lively:
            left_out["too_little_motion"] += 1
        else:
            kept.append(row)
    if not kept:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "an empty cache"
        raise ConfigError(
            where=f"{split or 'all'} clips of {cache.set_folder}", expected="at least one", got=f"none ({why})",
            hint="depending on the reason: split the set, annotate it, or lower the motion filter",
        )  # fmt: skip
    return SelectedClips(cache=cache, features=tuple(kept), excluded=left_out)


def select_from_sets(
    caches: Sequence[Cache], settings: StageDatasetSettings, *, split: SplitName | None = "train"
) -> tuple[SelectedClips, ...]:
    """The clips of each set; a clip that several sets have for the stage is taken from the first of them.

    Raises:
        ConfigError: as `select_clips`, or a clip is in different splits of two sets.
    """
    if len(caches) > 1 and split is not None:
        _check_splits(caches)
    selections: list[SelectedClips] = []
    earlier: set[str] = set()
    for cache in caches:
        chosen = select_clips(cache, settings, split=split)
        kept = tuple(row for row in chosen.features if row.clip_id not in earlier)
        repeated = len(chosen.features) - len(kept)
        excluded = dict(chosen.excluded) | ({"in_an_earlier_set": repeated} if repeated else {})
        selections.append(SelectedClips(cache=cache, features=kept, excluded=excluded))
        earlier |= {row.clip_id for row in kept}
    return tuple(selections)


def _check_splits(caches: Sequence[Cache]) -> None:
    """Raise ConfigError if a clip is in different splits of two sets."""
    found: dict[str, tuple[str, Path]] = {}
    for cache in caches:
        own = _splits(cache.set_folder)
        for clip_id in sorted(row.clip_id for row in cache.features):
            here = own.get(clip_id, "none")
            split, folder = found.setdefault(clip_id, (here, cache.set_folder))
            if here != split:
                raise ConfigError(
                    where=clip_id, expected="one split in all sets",
                    got=f"{split} in {folder}, {here} in {cache.set_folder}",
                    hint="merge the sets (`xsheet set merge`) and split the merged one",
                )  # fmt: skip


class CachedClipDataset:
    """Cached clips, read into batches."""

    def __init__(
        self,
        selections: Sequence[SelectedClips],
        settings: StageDatasetSettings,
        *,
        seed: int,
        mirror_probability: float,
    ) -> None:
        cache = selections[0].cache  # all are of the same settings, and differ in the run of their layer alone
        cached_forms = cache.spec.texts["settings"]["forms"]
        if settings.text not in cached_forms:
            raise ConfigError(
                where="text of the stage", expected=f"one of {', '.join(cached_forms)}, which the cache has",
                got=settings.text, hint="add it to cache.text.forms and run `xsheet train cache` again",
            )  # fmt: skip
        self._settings = settings
        self._clips = {row.clip_id: (one.cache, row) for one in selections for row in one.features}
        self._tensors = {one.cache.set_folder: TensorStore(one.cache.set_folder) for one in selections}
        self._seed, self._mirror_probability = seed, mirror_probability
        self._views = 2 if cache.spec.clips["picture"]["mirror"] else 1
        null = null_text(cache)
        self.null_text = null.float() if null.is_floating_point() else null
        """What "no text" is: ids (M,) or (M, W), or vectors (M, E)."""

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def buckets(self) -> dict[str, Bucket]:
        """Bucket by clip id."""
        return {clip_id: bucket_of(row) for clip_id, (_, row) in self._clips.items()}

    def batch(self, sample_keys: Sequence[SampleKey]) -> Batch:
        """Read clips of one bucket; their sample keys decide crop and mirroring.

        Raises:
            ContractError: a file of the cache is lost or broken.
        """
        rows = [self._row(sample_key) for sample_key in sample_keys]
        return Batch(
            sample_keys=tuple(sample_keys), **{name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        )

    def _row(self, sample_key: SampleKey) -> dict[str, Tensor]:
        cache, feature = self._clips[sample_key.clip_id]
        clip = self._tensors[cache.set_folder].read(Path(feature.tensor_entry))
        crop = seeded_random.crop_index(sample_key, seed=self._seed, count=len(clip["audio"]))
        flipped = self._views == 2 and seeded_random.is_mirrored(
            sample_key, seed=self._seed, probability=self._mirror_probability
        )
        variant = self._views * crop + flipped
        masks = {name: clip[name][crop].float() / 255 for name in ("face", "mouth")}
        return {
            "latent_BCFHW": clip["latent"][variant].float(),
            "audio_BTLQ": clip["audio"][crop].float(),
            **{f"{name}_BFHW": mask.flip(-1) if flipped else mask for name, mask in masks.items()},
            **self._text(cache, feature, variant),
            **self._extra_conditioning(cache, feature, crop, variant),
        }

    def _text(self, cache: Cache, feature: Feature, variant: int) -> dict[str, Tensor]:
        """Tokens padded to the model's length, like the null prompt, which ends with a pad."""
        texts = self._tensors[cache.set_folder].read(text_entry(cache.spec, feature))
        tokens, phases, windows = (texts[f"{self._settings.text}.{part}"] for part in ("tokens", "phases", "windows"))
        count = int((phases[variant] != PAD).sum())
        text = self.null_text[-1:].repeat_interleave(len(self.null_text), dim=0)
        phase = torch.full((len(self.null_text),), PAD, dtype=torch.int64)
        text[:count] = tokens[variant, :count]
        phase[:count] = phases[variant, :count] if self._settings.mark_phases else NO_PHASE
        return {"text": text, "phase_BM": phase, "window_BK2": windows[variant]}

    def _extra_conditioning(self, cache: Cache, feature: Feature, crop: int, variant: int) -> dict[str, Tensor]:
        """Extra conditioning, if the cache keeps it."""
        if cache.spec.extra_conditioning is None:
            return {}
        tensors = self._tensors[cache.set_folder].read(extra_conditioning_entry(cache.spec, feature))
        chosen = tensors["identity"], tensors["intensity"][crop], tensors["motion"][variant]
        return dict(zip(("identity_BX", "intensity_B2", "motion_BTX"), chosen, strict=True))


def _splits(set_folder: Path) -> dict[str, str]:
    rows = tables.read_table(set_folder, tables.SPLITS, ["clip_id", "split"]).to_pylist()
    if not rows:
        raise ConfigError(
            where=str(set_folder), expected="a split into train, val and test", got="none",
            hint="run `xsheet curate split SET` first",
        )  # fmt: skip
    return {row["clip_id"]: row["split"] for row in rows}


def _moving_clips(set_folder: Path, motion: MotionFilter) -> set[str]:
    """Clips with a body part that exceeds the speed for a tenth of the time."""
    found: set[str] = set()
    for file in tables.part_files(set_folder, tables.MEASURES):
        for row in tables.read_file(file, tables.MEASURES, ["clip_id", "motion"]).to_pylist():
            speeds = [part["speed_p90"] for part in row["motion"] if part["part"] in motion.parts]
            if max(speeds, default=0.0) >= motion.min_speed:
                found.add(row["clip_id"])
    return found
