"""A learner of two blocks, clips drawn from their names, and a loop over them; also a script that can be killed.

python toy.py FOLDER --steps 6 [--workers 2] [--micro 1]
"""

import argparse
import logging
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import distributed, nn
from torch.distributed.tensor import DTensor

from xsheet.model.config import ActAvatarConfig
from xsheet.model.init import init_transformer
from xsheet.model.variants import ACTalker, FantasyTalking, variant_of
from xsheet.schemas.errors import XsheetError
from xsheet.train.data.batch import Batch, concatenate
from xsheet.train.data.seeded_random import ConditionDropoutSettings, SampleKey, permutation
from xsheet.train.data.settings import StageDatasetSettings
from xsheet.train.launch import WorkerSettings, launch
from xsheet.train.loop.loop import LoopSettings, StageSpec, StepShare, TrainLoop
from xsheet.train.loop.loss import LossSettings, VelocityLoss
from xsheet.train.loop.model import TrainableModel
from xsheet.train.loop.optim import Ema, OptimSettings, build_optimizer
from xsheet.train.loop.process_group import ProcessGroup, current_process_group
from xsheet.train.loop.state import DataPosition, TrainState, _state_dict
from xsheet.train.loop.step import ComputeSettings, prepare_model
from xsheet.train.stages import StageSettings, set_trainable, trainable_parameters

SEED = 5
CLIPS = 12
FRAMES, CELLS = 3, 4  # of the latent
EVERYTHING = StageSettings(
    name="toy",
    dataset=StageDatasetSettings(text="blocks"),
    trainable_parts=("backbone", "audio", "phases", "text"),
    steps=6,
    optim=OptimSettings(lr=1e-2, warmup_steps=2, ema_decay=0.9),
    loss=LossSettings(condition_dropout=ConditionDropoutSettings(text=0.2, audio=0.2, both=0.1)),
)
ALONE = ProcessGroup()
FLOAT32 = ComputeSettings(dtype="float32", gradient_checkpointing=False)
VARIANTS = {
    "fantasy_talking": FantasyTalking(
        identity_width=4, identity_tokens=2, identity_layers=1, motion_width=8, mouth_only_probability=0
    ),
    "actalker": ACTalker(identity_width=4),
}


def small_size(**changes) -> ActAvatarConfig:
    """Two blocks of width 24."""
    fields = {
        "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 3, "out_channels": 3, "text_dim": 8,
        "ffn_dim": 40, "num_layers": 2, "rope_max_seq_len": 16, "text_tokens": 7, "max_phases": 2, "audio_layers": 2,
        "audio_channels": 3, "audio_hidden": 8, "audio_tokens": 2, "audio_dim": 6, "freq_dim": 16,
        "phase_binding": ("table", "interval", "clock"),
    }  # fmt: skip
    return ActAvatarConfig(**fields | changes)


class Letters(nn.Module):
    """A text encoder that learns: a vector per letter; 0 pads."""

    def __init__(self, width: int, rng: torch.Generator) -> None:
        super().__init__()
        self.table = nn.Embedding(16, width, padding_idx=0)
        nn.init.normal_(self.table.weight, generator=rng)
        with torch.no_grad():
            self.table.weight[0] = 0

    def embed(self, ids_BM: torch.Tensor) -> torch.Tensor:
        return self.table(ids_BM)


def make_learner(
    size: ActAvatarConfig | None = None, *, variant: FantasyTalking | ACTalker | None = None
) -> TrainableModel:
    """Fresh weights in which everything speaks but the phases."""
    (size, kind), rng = variant_of(variant).build_config(size or small_size()), torch.Generator().manual_seed(1)
    transformer = init_transformer(size, rng=rng, kind=kind)
    with torch.no_grad():
        transformer.proj_out.weight.normal_(std=0.2, generator=rng)
        for block in transformer.blocks if variant is None else ():
            block.audio_attn.to_out.weight.normal_(std=0.2, generator=rng)
    null_text = torch.zeros(size.text_tokens).long()
    return TrainableModel(
        transformer, text=Letters(size.text_dim, rng), null_text=null_text, variant=variant_of(variant)
    )


def make_clip(showing: SampleKey, size: ActAvatarConfig) -> Batch:
    """One clip whose numbers follow from its name."""
    rng = torch.Generator().manual_seed(int(showing.clip_id.removeprefix("clip")))
    frames = 4 * (FRAMES - 1) + 1
    cells = (1, FRAMES, CELLS, CELLS)
    return Batch(
        sample_keys=(showing,),
        latent_BCFHW=torch.randn(1, size.in_channels, *cells[1:], generator=rng),
        text=torch.randint(1, 16, (1, size.text_tokens), generator=rng),
        phase_BM=torch.tensor([[0, 0, 1, 1, 2, 2, -1]]),
        audio_BTLQ=torch.randn(1, frames, size.audio_layers, size.audio_channels, generator=rng),
        window_BK2=torch.tensor([[[0.0, 3.0], [3.0, 6.0]]]),
        face_BFHW=torch.zeros(cells),
        mouth_BFHW=torch.zeros(cells),
    )


@dataclass(frozen=True, kw_only=True)
class ToyFeed:
    """`clips` per step in micro-batches of `micro`, split among workers; clips in `broken` hold a NaN."""

    size: ActAvatarConfig
    clips: int = 4
    micro: int = 1
    world: ProcessGroup = ALONE
    broken: tuple[str, ...] = ()
    die_at: int | None = None  # clips after which it raises, as a kill does

    def step_shares(self, start: DataPosition):
        at = start
        while True:
            taken: list[SampleKey] = []
            for _ in range(self.clips):
                order = permutation(CLIPS, seed=SEED, epoch=at.epoch)
                taken.append(SampleKey(at.epoch, f"clip{order[at.clips_drawn]}"))
                at = DataPosition(epoch=at.epoch, clips_drawn=at.clips_drawn + 1)
                if at.clips_drawn == CLIPS:
                    at = DataPosition(epoch=at.epoch + 1)
            if self.die_at is not None and at.epoch * CLIPS + at.clips_drawn > self.die_at:
                raise KeyboardInterrupt
            groups = [taken[i : i + self.micro] for i in range(0, self.clips, self.micro)]
            mine = groups[self.world.rank :: self.world.size]
            yield StepShare(
                micro_batches=tuple(concatenate([self._clip(one) for one in group]) for group in mine), next_position=at
            )

    def _clip(self, showing: SampleKey) -> Batch:
        clip = make_clip(showing, self.size)
        if showing.clip_id in self.broken:
            clip.latent_BCFHW[0, 0, 1] = torch.nan
        return clip


def make_loop(
    folder: Path,
    *,
    steps: int = 6,
    stage: StageSettings = EVERYTHING,
    compute: ComputeSettings = FLOAT32,
    world: ProcessGroup = ALONE,
    size: ActAvatarConfig | None = None,
    variant: FantasyTalking | ACTalker | None = None,
    save_every: int = 2,
    identity: dict | None = None,
    **feed,
) -> TrainLoop:
    """A loop over toy clips in a folder."""
    learner = make_learner(size, variant=variant)
    set_trainable(learner, stage, rng=torch.Generator().manual_seed(2))
    prepare_model(learner, compute=compute, process_group=world)
    trained = trainable_parameters(learner)
    folder.mkdir(parents=True, exist_ok=True)
    memory = stage.optim.ema_decay
    learning = TrainState(
        model=learner,
        trainable_parameters=trained,
        optimizer=build_optimizer(trained.values(), stage.optim),
        ema=Ema(trained, decay=memory) if memory is not None else None,
    )
    toy_feed = ToyFeed(size=learner.transformer.model_config, world=world, **feed)
    course = StageSpec(
        steps=steps,
        batch_size=toy_feed.clips,
        seed=SEED,
        optim=stage.optim,
        interval_strength=stage.interval_strength.at,
        identity=identity or {"stage": "toy"},
    )
    return TrainLoop(
        state=learning,
        loss=VelocityLoss(stage.loss),
        loader=toy_feed,
        spec=course,
        compute=compute,
        settings=LoopSettings(log_every=1, save_every=save_every, validate_every=1000),
        folder=folder,
        process_group=world,
    )


def final_state(loop: TrainLoop) -> dict[str, torch.Tensor]:
    """Weights, moments and averages by name, whole."""
    tensors = {}
    for group, state in _state_dict(loop.state).items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                whole = value.full_tensor() if isinstance(value, DTensor) else value
                tensors[f"{group}.{key}"] = whole.detach().clone()
    return tensors


def run_as_one_of(rank: int, size: int, folder: Path) -> None:
    """Three steps on one of several processes without Ray, one clip broken; keeps how it ended."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    world = current_process_group(torch.device("cpu"))
    loop = make_loop(folder / "both", steps=3, world=world, broken=("clip3",))
    progress = loop.run()
    torch.save({"skipped": progress.skipped_steps, "state": final_state(loop)}, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@dataclass(frozen=True)
class ToyRun:
    """A loop on a worker, whose final state is kept."""

    folder: Path
    steps: int
    micro: int
    broken: tuple[str, ...]

    def __call__(self, world: ProcessGroup) -> None:
        """Run it."""
        torch.set_num_threads(1)
        (self.folder / f"pid-{world.rank}").write_text(str(os.getpid()))
        loop = make_loop(self.folder, steps=self.steps, world=world, micro=self.micro, broken=self.broken)
        loop.run()
        state = final_state(loop)
        if world.is_main:
            torch.save(state, self.folder / "final.pt")


def main() -> None:
    """Run a loop in this process or on workers, and keep its final state."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--ray")
    parser.add_argument("--micro", type=int, default=1)
    parser.add_argument("--broken", nargs="*", default=[])
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)

    work = ToyRun(arguments.folder, steps=arguments.steps, micro=arguments.micro, broken=tuple(arguments.broken))
    workers = WorkerSettings(count=arguments.workers, ray_address=arguments.ray)
    try:
        launch(work, workers=workers, folder=arguments.folder)
    except XsheetError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    import_module("toy").main()  # not as __main__: its run is pickled to other processes
