"""A training run: `xsheet train run SET --stages 1,2`.

    train_stages(set_folder, settings, stages=("stage1", "stage2"), out=out, how=Workers(count=8, gpus=True))

    OUT/stage1/    checkpoints/ metrics.jsonl skipped.jsonl tensorboard/, at the end weights and average (.safetensors)
    OUT/stage2/    the same

Run it again after a kill: it goes on from the last checkpoint, to the same bits. A finished stage is not run again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Generator

from xsheet.model.encoders.text import ByteTextEncoder
from xsheet.model.init import init_transformer
from xsheet.model.weights import load_pretrained_backbone
from xsheet.runtime.result_store import output_lock
from xsheet.schemas.ids import content_key, file_sha256
from xsheet.schemas.layers import find_layer
from xsheet.schemas.sets import build_manifest
from xsheet.train.data.cache.build import Cache, open_cache
from xsheet.train.data.cache.fingerprint import CacheSpec, cache_spec
from xsheet.train.data.dataset import CachedClipDataset, select_clips
from xsheet.train.data.encoders import open_encoders
from xsheet.train.data.loader import ClipLoader
from xsheet.train.data.order import BucketBatchSampler
from xsheet.train.launch import WorkerSettings, launch
from xsheet.train.loop.loop import StageSpec, TrainLoop, ValidateFn
from xsheet.train.loop.loss import VelocityLoss
from xsheet.train.loop.model import TrainableModel
from xsheet.train.loop.optim import Ema, build_optimizer
from xsheet.train.loop.parallel import prepare_model
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.stage_weights import WEIGHTS_FILE, check_initial_weights, load_previous, save_stage
from xsheet.train.loop.state import TrainState
from xsheet.train.settings import StageName, TrainSettings
from xsheet.train.stages import set_trainable, stage_weight_keys, trainable_parameters

log = logging.getLogger(__name__)

DISTRIBUTIONS = ("xsheet", "torch", "diffusers", "peft", "ray")

ValidationFactory = Callable[["StageRun", ProcessGroup], ValidateFn]
"""Makes, on a worker, what looks at the model now and then."""


def train_stages(
    set_folder: Path,
    settings: TrainSettings,
    *,
    stages: Sequence[StageName],
    out: Path,
    workers: WorkerSettings,
    validation: ValidationFactory | None = None,
) -> None:
    """Run stages one after the other on the cached clips of a set, and leave their weights and a manifest.

    Raises:
        ConfigError: no such cache, layer, base or earlier stage; too few clips; checkpoints of another configuration.
        RunError: out of memory, a dead worker, or another run that writes to `out`.
    """
    started = datetime.now(UTC)
    recipe = _cache_spec(set_folder, settings)
    seconds: dict[str, float] = {}
    with output_lock(out):
        for name in stages:
            began = datetime.now(UTC)
            run = StageRun(
                set_folder=set_folder, settings=settings, stage=name, cache_spec=recipe, out=out, validation=validation
            )
            launch(run, workers=workers, folder=out / name)
            seconds[name] = (datetime.now(UTC) - began).total_seconds()
    arguments = {"set": set_folder, "stages": ",".join(stages), "workers": workers.count}
    counts = {f"{name} steps": settings.stage(name).steps for name in stages}
    build_manifest(
        "train run", arguments=arguments, settings=settings, distributions=DISTRIBUTIONS, started=started,
        counts=counts, seconds=seconds,
    ).write(out)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """One stage, as every worker runs it; it is pickled to them."""

    set_folder: Path
    settings: TrainSettings
    stage: StageName
    cache_spec: CacheSpec
    out: Path
    validation: ValidationFactory | None = None

    def __call__(self, process_group: ProcessGroup) -> None:
        """Train, or go on training, and leave the weights."""
        stage, compute, folder = self.settings.stage(self.stage), self.settings.compute, self.out / self.stage
        if compute.threads is not None:
            torch.set_num_threads(compute.threads)
        folder.mkdir(parents=True, exist_ok=True)
        clips, order = self._dataset_and_sampler(open_cache(self.set_folder, self.cache_spec))
        learner = self.build_model(clips.null_text)
        keys = stage_weight_keys(learner, stage)
        learning = self._train_state(learner, process_group)
        loop = TrainLoop(
            state=learning,
            loss=VelocityLoss(stage.loss),
            loader=ClipLoader(
                clips,
                order,
                micro_batch_size=compute.micro_batch_size,
                prefetch=self.settings.loader.prefetch,
                process_group=process_group,
            ),
            spec=self._stage_spec(clips),
            compute=compute,
            settings=self.settings.loop,
            folder=folder,
            process_group=process_group,
            validate=self.validation(self, process_group) if self.validation is not None else None,
        )
        loop.run()
        save_stage(learning, folder, stage=stage, keys=keys, process_group=process_group)

    def build_model(self, null_text: torch.Tensor) -> TrainableModel:
        """The learner with the weights that the stage begins with; says where they come from."""
        learner = build_trainable_model(self.settings, null_text=null_text)
        before = self.settings.previous_stages(self.stage)
        earlier = [(name, settings, self.out / name) for name, settings in before.items()]
        handover = load_previous(
            learner, has_pretrained_backbone=self.settings.pretrained_backbone is not None, previous_stages=earlier
        )
        check_initial_weights(learner, handover, self.settings.stage(self.stage), stage_name=self.stage)
        return learner

    def _dataset_and_sampler(self, cache: Cache) -> tuple[CachedClipDataset, BucketBatchSampler]:
        shown, data, seed = self.settings.stage(self.stage).dataset, self.settings.loader, self.settings.seed
        chosen = select_clips(cache, shown)
        left = ", ".join(f"{count} {reason}" for reason, count in chosen.excluded.items()) or "none"
        log.info("%s is shown %d clips; left out: %s", self.stage, len(chosen.features), left)
        clips = CachedClipDataset(cache, chosen.features, shown, seed=seed, mirror_probability=data.mirror_probability)
        return clips, BucketBatchSampler(clips.buckets, batch_size=data.batch_size, seed=seed)

    def _train_state(self, model: TrainableModel, process_group: ProcessGroup) -> TrainState:
        stage = self.settings.stage(self.stage)
        set_trainable(model, stage, rng=_generator(self.settings.seed, f"{self.stage} updates"))
        prepare_model(model, compute=self.settings.compute, process_group=process_group)
        trained = trainable_parameters(model)
        memory = stage.optim.ema_decay
        return TrainState(
            model=model,
            trainable_parameters=trained,
            optimizer=build_optimizer(trained.values(), stage.optim),
            ema=Ema(trained, decay=memory) if memory is not None else None,
        )

    def _stage_spec(self, clips: CachedClipDataset) -> StageSpec:
        settings, stage = self.settings, self.settings.stage(self.stage)
        origin = {
            "cache": self.cache_spec.fingerprint,
            "clips": content_key(sorted(clips.buckets)),
            "begun_from": {
                name: file_sha256(self.out / name / WEIGHTS_FILE) for name in settings.previous_stages(self.stage)
            },
        }
        return StageSpec(
            steps=stage.steps,
            batch_size=settings.loader.batch_size,
            seed=settings.seed,
            optim=stage.optim,
            identity=settings.identity(self.stage) | origin,
        )


def build_trainable_model(settings: TrainSettings, *, null_text: torch.Tensor) -> TrainableModel:
    """A learner with the base's weights where there is a base, and new ones elsewhere.

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
    text = None
    if settings.cache.encoders.text == "bytes":
        text = ByteTextEncoder(max_tokens=size.text_tokens, dim=size.text_dim, rng=_generator(settings.seed, "text"))
    return TrainableModel(transformer, text=text, null_text=null_text)


def _cache_spec(set_folder: Path, settings: TrainSettings) -> CacheSpec:
    """What the cache must have been made of; the encoders are opened for their fingerprints and let go of."""
    wanted = settings.cache.text.layer
    layer = None if wanted is None else str(find_layer(set_folder, wanted))
    return cache_spec(settings.cache, open_encoders(settings.cache), layer=layer)


def _generator(seed: int, use: str) -> Generator:
    """A stream for each use: another text encoder does not change the transformer's first weights."""
    return Generator().manual_seed(int(content_key(seed, use)[:15], 16))
