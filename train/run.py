"""A training run: `xsheet train run SET --out OUT`.

    train_stages([WeightedSet(set_folder)], settings, out=out, workers=WorkerSettings(count=8, use_gpu=True))

    OUT/STAGE/    checkpoints/ metrics.jsonl skipped.jsonl tensorboard/, at the end weights and average (.safetensors)

A rerun resumes from the last checkpoint, with bit-identical results. A finished stage does not run again.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Generator

from xsheet.model.encoders.text import ByteTextEncoder
from xsheet.model.init import init_transformer
from xsheet.model.variants import variant_of
from xsheet.model.weights import load_pretrained_backbone
from xsheet.runtime.lock import write_lock
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import content_key, file_sha256
from xsheet.schemas.layers import find_layer
from xsheet.schemas.sets import build_manifest
from xsheet.train.data.cache.build import Cache, open_cache
from xsheet.train.data.cache.fingerprint import CacheSpec, cache_spec
from xsheet.train.data.dataset import CachedClipDataset, select_from_sets
from xsheet.train.data.encoders import open_encoders
from xsheet.train.data.loader import ClipLoader
from xsheet.train.data.order import BucketBatchSampler, check_weight
from xsheet.train.launch import WorkerSettings, launch
from xsheet.train.loop.loop import StageSpec, TrainLoop, ValidateFn
from xsheet.train.loop.lora import lora_targets
from xsheet.train.loop.loss import VelocityLoss
from xsheet.train.loop.model import TrainableModel, part_keys
from xsheet.train.loop.optim import Ema, build_optimizer
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.stage_weights import WEIGHTS_FILE, check_initial_weights, load_previous, save_stage
from xsheet.train.loop.state import TrainState
from xsheet.train.loop.step import prepare_model
from xsheet.train.pretrained import avatar_keys, load_avatar
from xsheet.train.settings import TrainSettings
from xsheet.train.stages import StageSettings, set_trainable, stage_weight_keys, trainable_parameters

log = logging.getLogger(__name__)

DISTRIBUTIONS = ("xsheet", "torch", "diffusers", "peft", "ray")

ValidationFactory = Callable[["StageRun", ProcessGroup], ValidateFn]
"""Creates the validation function on a worker."""


@dataclass(frozen=True, slots=True)
class WeightedSet:
    """A set to train on, and how often an epoch contains each of its clips on average."""

    folder: Path
    weight: float = 1.0


def train_stages(
    sets: Sequence[WeightedSet],
    settings: TrainSettings,
    *,
    out: Path,
    workers: WorkerSettings,
    stages: Sequence[str] | None = None,
    validation: ValidationFactory | None = None,
) -> None:
    """Run stages in order on the cached clips of the sets, and write their weights and a manifest.

    `stages` are names from the settings; None runs all.

    Raises:
        ConfigError: no such cache, layer, base or earlier stage; too few clips; checkpoints of another configuration.
        RunError: out of memory, a dead worker, or another run that writes to `out`.
    """
    started, names = datetime.now(UTC), settings.select_stages(stages)
    _check_sets(sets)
    specs = tuple(_cache_spec(one.folder, settings) for one in sets)
    seconds: dict[str, float] = {}
    with write_lock(out):
        for name in names:
            began = datetime.now(UTC)
            run = StageRun(
                sets=tuple(sets), settings=settings, stage=name, cache_specs=specs, out=out, validation=validation
            )
            launch(run, workers=workers, folder=out / name)
            seconds[name] = (datetime.now(UTC) - began).total_seconds()
    weighted = ", ".join(str(one.folder) + (f" × {one.weight:g}" if one.weight != 1 else "") for one in sets)
    arguments = {"set": weighted, "stages": ",".join(names), "workers": workers.count}
    counts = {f"{name} steps": settings.stage(name).steps for name in names}
    build_manifest(
        "train run", arguments=arguments, settings=settings, distributions=DISTRIBUTIONS, started=started,
        counts=counts, seconds=seconds,
    ).write(out)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """One stage, as every worker runs it; it is pickled to them."""

    sets: tuple[WeightedSet, ...]
    settings: TrainSettings
    stage: str
    cache_specs: tuple[CacheSpec, ...]  # one per set; they differ in the run of their layer alone
    out: Path
    validation: ValidationFactory | None = None

    def __call__(self, process_group: ProcessGroup) -> None:
        """Train from the last checkpoint and write the weights."""
        stage, compute, folder = self.settings.stage(self.stage), self.settings.compute, self.out / self.stage
        if compute.threads is not None:
            torch.set_num_threads(compute.threads)
        folder.mkdir(parents=True, exist_ok=True)
        clips, order, weight_of = self._dataset_and_sampler()
        model = self.build_model(clips.null_text)
        keys = stage_weight_keys(model, stage)
        state = self._train_state(model, process_group)
        loop = TrainLoop(
            state=state,
            loss=VelocityLoss(stage.loss),
            loader=ClipLoader(
                clips,
                order,
                micro_batch_size=compute.micro_batch_size,
                prefetch=self.settings.loader.prefetch,
                process_group=process_group,
            ),
            spec=self._stage_spec(clips, weight_of),
            compute=compute,
            settings=self.settings.loop,
            folder=folder,
            process_group=process_group,
            validate=self.validation(self, process_group) if self.validation is not None else None,
        )
        loop.run()
        save_stage(
            state, folder, stage=stage, keys=keys, process_group=process_group, originals=self._originals(clips, stage)
        )

    def build_model(self, null_text: torch.Tensor) -> TrainableModel:
        """The model with its initial weights; logs where they come from."""
        model = build_trainable_model(self.settings, null_text=null_text)
        earlier = [(stage, self.out / stage.name) for stage in self.settings.previous_stages(self.stage)]
        origins = load_previous(model, pretrained=pretrained_keys(model, self.settings), previous_stages=earlier)
        check_initial_weights(model, origins, self.settings.stage(self.stage))
        return model

    def open_caches(self) -> list[Cache]:
        """The caches of the sets."""
        return [open_cache(one.folder, spec) for one, spec in zip(self.sets, self.cache_specs, strict=True)]

    def _dataset_and_sampler(self) -> tuple[CachedClipDataset, BucketBatchSampler, dict[str, float]]:
        """Clips, their order, and the weights other than 1 by clip."""
        dataset, data, seed = self.settings.stage(self.stage).dataset, self.settings.loader, self.settings.seed
        selections = select_from_sets(self.open_caches(), dataset)
        for chosen in selections:
            left = ", ".join(f"{count} {reason}" for reason, count in chosen.excluded.items()) or "none"
            where = f" of {chosen.cache.set_folder}" if len(selections) > 1 else ""
            log.info("%s trains on %d clips%s; left out: %s", self.stage, len(chosen.features), where, left)
        clips = CachedClipDataset(selections, dataset, seed=seed, mirror_probability=data.mirror_probability)
        weight_of = {
            row.clip_id: one.weight
            for one, chosen in zip(self.sets, selections, strict=True)
            for row in chosen.features
            if one.weight != 1
        }
        order = BucketBatchSampler(clips.buckets, batch_size=data.batch_size, seed=seed, weight_of=weight_of)
        return clips, order, weight_of

    def _train_state(self, model: TrainableModel, process_group: ProcessGroup) -> TrainState:
        stage = self.settings.stage(self.stage)
        if stage.lora is not None and stage.lora.frozen_dtype != "float32" and process_group.is_distributed:
            raise ConfigError(
                where=f"stages.{self.stage}.lora.frozen_dtype", expected="float32 with several workers",
                got=stage.lora.frozen_dtype, hint="several workers share the weights among them",
            )  # fmt: skip
        set_trainable(model, stage, rng=_generator(self.settings.seed, f"{self.stage} updates"))
        prepare_model(model, compute=self.settings.compute, process_group=process_group)
        trained = trainable_parameters(model)
        decay = stage.optim.ema_decay
        return TrainState(
            model=model,
            trainable_parameters=trained,
            optimizer=build_optimizer(trained.values(), stage.optim),
            ema=Ema(trained, decay=decay) if decay is not None else None,
        )

    def _originals(self, clips: CachedClipDataset, stage: StageSettings) -> dict[str, torch.Tensor]:
        """Weights that updates are merged into, read again where the model keeps them in a smaller type."""
        if stage.lora is None or stage.lora.frozen_dtype == "float32":
            return {}
        model = self.build_model(clips.null_text)
        weights = model.transformer.state_dict()
        return {f"transformer.{key}": weights[key] for key in lora_targets(model.transformer, stage.lora)}

    def _stage_spec(self, clips: CachedClipDataset, weight_of: Mapping[str, float]) -> StageSpec:
        settings, stage = self.settings, self.settings.stage(self.stage)
        fingerprints = sorted({spec.fingerprint for spec in self.cache_specs})
        origin = {
            "cache": fingerprints[0] if len(fingerprints) == 1 else content_key(*fingerprints),
            "clips": content_key(sorted(clips.buckets), *([sorted(weight_of.items())] if weight_of else [])),
            "previous_weights": {
                earlier.name: file_sha256(self.out / earlier.name / WEIGHTS_FILE)
                for earlier in settings.previous_stages(self.stage)
            },
        }
        return StageSpec(
            steps=stage.steps,
            batch_size=settings.loader.batch_size,
            seed=settings.seed,
            optim=stage.optim,
            interval_strength=stage.interval_strength.at,
            identity=settings.identity(self.stage) | origin,
        )


def _check_sets(sets: Sequence[WeightedSet]) -> None:
    folders = [one.folder.resolve() for one in sets]
    repeated = next((folder for folder in folders if folders.count(folder) > 1), None)
    if not folders or repeated is not None:
        raise ConfigError(
            where="sets to train on", expected="at least one, each named once", got=f"{repeated or 'none'}",
            hint="use --weights to train on a set more often",
        )  # fmt: skip
    for one in sets:
        check_weight(one.weight)


def build_trainable_model(settings: TrainSettings, *, null_text: torch.Tensor) -> TrainableModel:
    """A model with pretrained weights if configured, and new weights elsewhere.

    Args:
        settings: of the run.
        null_text: what "no text" is, as the cache has it: ids where the text encoder is trained along, else vectors.
    """
    (size, kind), rng = settings.config_and_class, _generator(settings.seed, "transformer")
    if settings.pretrained_backbone is None:
        transformer = init_transformer(size, rng=rng, kind=kind)
    else:
        transformer = load_pretrained_backbone(
            Path(settings.pretrained_backbone), config=size, rng=rng, model_class=kind
        )
    model = TrainableModel(
        transformer, text=build_text_encoder(settings), null_text=null_text, variant=variant_of(settings.variant)
    )
    if settings.pretrained_avatar is not None:
        load_avatar(model, settings.pretrained_avatar)
    return model


def pretrained_keys(model: TrainableModel, settings: TrainSettings) -> dict[str, frozenset[str]]:
    """Keys of the model whose weights are pretrained, by their origin."""
    if settings.pretrained_avatar is not None:
        return {"avatar": avatar_keys(model, settings.pretrained_avatar)}
    return {"backbone": part_keys(model)["backbone"]} if settings.pretrained_backbone is not None else {}


def build_text_encoder(settings: TrainSettings) -> ByteTextEncoder | None:
    """The text encoder that is trained with the model, with new weights; None where vectors are cached."""
    if settings.cache.encoders.text != "bytes":
        return None
    size = settings.config_and_class[0]
    return ByteTextEncoder(max_tokens=size.text_tokens, dim=size.text_dim, rng=_generator(settings.seed, "text"))


def _cache_spec(set_folder: Path, settings: TrainSettings) -> CacheSpec:
    """The required cache spec; encoders are opened for their fingerprints only."""
    wanted = settings.cache.text.layer
    layer = None if wanted is None else str(find_layer(set_folder, wanted))
    return cache_spec(settings.cache, open_encoders(settings.cache), layer=layer)


def _generator(seed: int, use: str) -> Generator:
    """A generator per purpose: another text encoder does not change the transformer's initial weights."""
    return Generator().manual_seed(int(content_key(seed, use)[:15], 16))
