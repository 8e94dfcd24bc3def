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

from xsheet.model.encoders.text import ByteText
from xsheet.model.init import fresh
from xsheet.model.weights import load_base
from xsheet.runtime.result_store import locked
from xsheet.schemas.ids import content_key, file_sha256
from xsheet.schemas.layers import find_layer
from xsheet.schemas.manifest import manifest
from xsheet.train.data.cache.build import Cache, open_cache
from xsheet.train.data.cache.fingerprint import Recipe, recipe_of
from xsheet.train.data.dataset import Clips, choose
from xsheet.train.data.encoders import open_encoders
from xsheet.train.data.loader import ClipFeed
from xsheet.train.data.order import Order
from xsheet.train.launch import Workers, launch
from xsheet.train.loop.loop import Course, Loop, Observer
from xsheet.train.loop.loss import VelocityLoss
from xsheet.train.loop.model import Learner
from xsheet.train.loop.optim import Ema, optimizer
from xsheet.train.loop.parallel import make_ready
from xsheet.train.loop.process_group import World
from xsheet.train.loop.stage_weights import WEIGHTS, check_start, hand_on, take_over
from xsheet.train.loop.state import Learning
from xsheet.train.settings import StageName, TrainSettings
from xsheet.train.stages import freeze_the_rest, keys_handed_on, trained_parameters

log = logging.getLogger(__name__)

DISTRIBUTIONS = ("xsheet", "torch", "diffusers", "peft", "ray")

Watch = Callable[["StageRun", World], Observer]
"""Makes, on a worker, what looks at the model now and then."""


def train_stages(
    set_folder: Path,
    settings: TrainSettings,
    *,
    stages: Sequence[StageName],
    out: Path,
    how: Workers,
    watch: Watch | None = None,
) -> None:
    """Run stages one after the other on the cached clips of a set, and leave their weights and a manifest.

    Raises:
        ConfigError: no such cache, layer, base or earlier stage; too few clips; checkpoints of another configuration.
        RunError: out of memory, a dead worker, or another run that writes to `out`.
    """
    started = datetime.now(UTC)
    recipe = _recipe(set_folder, settings)
    seconds: dict[str, float] = {}
    with locked(out):
        for name in stages:
            began = datetime.now(UTC)
            run = StageRun(set_folder=set_folder, settings=settings, name=name, recipe=recipe, out=out, watch=watch)
            launch(run, how=how, folder=out / name)
            seconds[name] = (datetime.now(UTC) - began).total_seconds()
    arguments = {"set": set_folder, "stages": ",".join(stages), "workers": how.count}
    counts = {f"{name} steps": settings.stage(name).steps for name in stages}
    manifest(
        "train run", arguments=arguments, settings=settings, distributions=DISTRIBUTIONS, started=started,
        counts=counts, seconds=seconds,
    ).write(out)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """One stage, as every worker runs it; it is pickled to them."""

    set_folder: Path
    settings: TrainSettings
    name: StageName
    recipe: Recipe
    out: Path
    watch: Watch | None = None

    def __call__(self, world: World) -> None:
        """Train, or go on training, and leave the weights."""
        stage, compute, folder = self.settings.stage(self.name), self.settings.compute, self.out / self.name
        if compute.threads is not None:
            torch.set_num_threads(compute.threads)
        folder.mkdir(parents=True, exist_ok=True)
        clips, order = self._clips(open_cache(self.set_folder, self.recipe))
        learner = self.learner(clips.null_text)
        keys = keys_handed_on(learner, stage)
        learning = self._learning(learner, world)
        loop = Loop(
            learning=learning,
            loss=VelocityLoss(stage.loss),
            feed=ClipFeed(clips, order, micro_batch=compute.micro_batch, ahead=self.settings.data.ahead, world=world),
            course=self._course(clips),
            compute=compute,
            settings=self.settings.loop,
            folder=folder,
            world=world,
            observe=self.watch(self, world) if self.watch is not None else None,
        )
        loop.run()
        hand_on(learning, folder, stage=stage, keys=keys, world=world)

    def learner(self, null_text: torch.Tensor) -> Learner:
        """The learner with the weights that the stage begins with; says where they come from."""
        learner = make_learner(self.settings, null_text=null_text)
        before = self.settings.before(self.name)
        earlier = [(name, settings, self.out / name) for name, settings in before.items()]
        handover = take_over(learner, has_base=self.settings.base is not None, earlier=earlier)
        check_start(learner, handover, self.settings.stage(self.name), name=self.name)
        return learner

    def _clips(self, cache: Cache) -> tuple[Clips, Order]:
        shown, data, seed = self.settings.stage(self.name).shown, self.settings.data, self.settings.seed
        chosen = choose(cache, shown)
        left = ", ".join(f"{count} {reason}" for reason, count in chosen.left_out.items()) or "none"
        log.info("%s is shown %d clips; left out: %s", self.name, len(chosen.features), left)
        clips = Clips(cache, chosen.features, shown, seed=seed, mirrored=data.mirrored)
        return clips, Order(clips.buckets, batch=data.batch, seed=seed)

    def _learning(self, learner: Learner, world: World) -> Learning:
        stage = self.settings.stage(self.name)
        freeze_the_rest(learner, stage, rng=_generator(self.settings.seed, f"{self.name} updates"))
        make_ready(learner, compute=self.settings.compute, world=world)
        trained = trained_parameters(learner)
        memory = stage.optim.ema
        return Learning(
            learner=learner,
            trained=trained,
            optimizer=optimizer(trained.values(), stage.optim),
            ema=Ema(trained, memory=memory) if memory is not None else None,
        )

    def _course(self, clips: Clips) -> Course:
        settings, stage = self.settings, self.settings.stage(self.name)
        origin = {
            "cache": self.recipe.fingerprint,
            "clips": content_key(sorted(clips.buckets)),
            "begun_from": {name: file_sha256(self.out / name / WEIGHTS) for name in settings.before(self.name)},
        }
        return Course(
            steps=stage.steps,
            clips=settings.data.batch,
            seed=settings.seed,
            optim=stage.optim,
            identity=settings.identity(self.name) | origin,
        )


def make_learner(settings: TrainSettings, *, null_text: torch.Tensor) -> Learner:
    """A learner with the base's weights where there is a base, and new ones elsewhere.

    Args:
        settings: of the run.
        null_text: what "no text" is, as the cache has it: ids where the text encoder is trained along, else vectors.
    """
    (size, kind), rng = settings.model, _generator(settings.seed, "transformer")
    if settings.base is None:
        transformer = fresh(size, rng=rng, kind=kind)
    else:
        transformer = load_base(Path(settings.base), config=size, rng=rng, kind=kind)
    text = None
    if settings.cache.encoders.text == "bytes":
        text = ByteText(tokens=size.text_tokens, width=size.text_dim, rng=_generator(settings.seed, "text"))
    return Learner(transformer, text=text, null_text=null_text)


def _recipe(set_folder: Path, settings: TrainSettings) -> Recipe:
    """What the cache must have been made of; the encoders are opened for their fingerprints and let go of."""
    wanted = settings.cache.text.layer
    layer = None if wanted is None else str(find_layer(set_folder, wanted))
    return recipe_of(settings.cache, open_encoders(settings.cache), layer=layer)


def _generator(seed: int, use: str) -> Generator:
    """A stream for each use: another text encoder does not change the transformer's first weights."""
    return Generator().manual_seed(int(content_key(seed, use)[:15], 16))
