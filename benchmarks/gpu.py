"""What a GPU must show, in ten minutes: CUDA tests, the 5B's step, FSDP2, the tiny ablation, SyncNet.

    python benchmarks/gpu.py FOLDER [--only PART ...] [--skip PART ...] [--list] [--smoke]

Each part runs in a process of its own within its time limit and leaves its numbers in FOLDER/parts.json; a later run
repeats only the parts that are not in there. Weights are random. Prints Markdown tables for docs/benchmarks.md.

The floor of a step is its matrix products (forward, backward, and one more forward with recomputation) at the rate of
one large product, measured by the part `matmul`. MFU counts forward and backward once, against the data sheet.

`--smoke` runs all parts on a CPU, in one process, at sizes that say nothing about speed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import save_file
from torch import distributed

from xsheet.curate.sync.syncnet import SyncNet, SyncNetNetworkSettings
from xsheet.model.config import ActAvatarConfig, latent_frames, tiny_config, wan2_2_ti2v_5b_config
from xsheet.model.transformer import ActAvatarTransformer
from xsheet.schemas.errors import RunError
from xsheet.schemas.files import write_text
from xsheet.schemas.ids import file_sha256
from xsheet.train.data.batch import Batch
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.loop.loss import LossSettings, VelocityLoss
from xsheet.train.loop.metrics import ClipFlops, clip_flops, peak_flops, peak_memory_gib
from xsheet.train.loop.model import TrainableModel
from xsheet.train.loop.optim import OptimSettings, build_optimizer
from xsheet.train.loop.process_group import current_process_group
from xsheet.train.loop.step import ComputeSettings, TrainStep, prepare_model

ROOT = Path(__file__).resolve().parents[1]
Numbers = dict[str, float | str | None]

CLIPS = {"480x832x81": (81, 480, 832), "704x1280x125": (125, 704, 1280)}  # frames, height, width in pixels
SMOKE_CLIP = (5, 64, 64)
COMPUTE = {
    "plain": ComputeSettings(gradient_checkpointing=False),
    "recompute": ComputeSettings(),
    "compile": ComputeSettings(gradient_checkpointing=False, torch_compile=True),
    "recompute-compile": ComputeSettings(torch_compile=True),
}
ARMS = {"words": (), "table": ("table",), "interval": ("table", "interval"), "clock": ("table", "interval", "clock")}
ABLATION_STEPS = 1500
ABLATION_RUNS = 18  # six arms, three seeds
SYNCNET_CROPS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a part runs, and whether at real sizes."""

    device: torch.device
    smoke: bool

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], *, rounds: int) -> float:
        """Median seconds of some work after one round to warm up."""
        spent = []
        for _ in range(1 + (1 if self.smoke else rounds)):
            self.synchronize()
            begun = time.perf_counter()
            work()
            self.synchronize()
            spent.append(time.perf_counter() - begun)
        return statistics.median(spent[1:])

    def config(self, **changes: object) -> ActAvatarConfig:
        """The 5B, or a model of two blocks with its structure."""
        small = {"num_attention_heads": 2, "attention_head_dim": 24, "ffn_dim": 64, "num_layers": 2, "text_dim": 32}
        few = {"text_tokens": 16, "audio_layers": 2, "audio_channels": 8, "audio_hidden": 16, "audio_tokens": 2}
        fields = wan2_2_ti2v_5b_config().model_dump() | (small | few if self.smoke else {}) | changes
        return ActAvatarConfig(**fields)


def random_batch(config: ActAvatarConfig, clip: tuple[int, int, int], *, count: int, device: torch.device) -> Batch:
    """Clips of random numbers with two phases in their text."""
    frames, height, width = clip
    stride = config.latent_stride
    cells = (latent_frames(frames), height // stride[1], width // stride[2])
    tokens = config.text_tokens
    rng = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=rng, device=device)

    phase_M = torch.arange(tokens, device=device) * 3 // tokens  # no phase, then two
    ends = torch.tensor([[0.0, frames / 2], [frames / 2, frames]], device=device)
    window_K2 = torch.zeros(config.max_phases, 2, device=device)
    window_K2[:2] = ends
    return Batch(
        sample_keys=tuple(SampleKey(0, f"clip{k}") for k in range(count)),
        latent_BCFHW=normal(config.in_channels, *cells),
        text=normal(tokens, config.text_dim),
        phase_BM=phase_M.expand(count, -1),
        audio_BTLQ=normal(frames, config.audio_layers, config.audio_channels),
        window_BK2=window_K2.expand(count, -1, -1),
        face_BFHW=torch.zeros(count, *cells, device=device),
        mouth_BFHW=torch.zeros(count, *cells, device=device),
    )


def random_model(config: ActAvatarConfig, machine: Machine) -> TrainableModel:
    """Weights of torch's own initialisation, made on the device: a copy of 23 GB takes longer than the step."""
    torch.manual_seed(0)
    with machine.device:
        transformer = ActAvatarTransformer(**config.model_dump())
        null_text = torch.zeros(config.text_tokens, config.text_dim)
    return TrainableModel(transformer, text=None, null_text=null_text)


def train_step(
    machine: Machine, config: ActAvatarConfig, clip: tuple[int, int, int], compute: ComputeSettings, *, count: int = 1
) -> tuple[float, ClipFlops]:
    """Seconds of a training step of all weights, and the work of a clip forward."""
    model, group = random_model(config, machine), current_process_group(machine.device)
    prepare_model(model, compute=compute, process_group=group)
    optim = OptimSettings()
    optimizer = build_optimizer(model.parameters(), optim)
    loss = VelocityLoss(LossSettings())
    step = TrainStep(model, loss=loss, optimizer=optimizer, compute=compute, process_group=group)
    batch = random_batch(config, clip, count=count, device=machine.device)

    def run() -> None:
        step.run([batch], batch_size=count, seed=0, lr=optim.lr, max_grad_norm=optim.max_grad_norm)

    cells = batch.latent_BCFHW.shape[2:]
    flops = clip_flops(config, frames=cells[0], height=cells[1], width=cells[2])
    return machine.seconds(run, rounds=3), flops


# ---- the parts


def tests(machine: Machine) -> Numbers:
    """The tests that need a CUDA device; without one they are collected and skipped."""
    paths = ["tests/model/test_transformer.py"] if machine.smoke else ["tests/model", "tests/train/loop"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-n", "0", "-p", "no:cacheprovider", *paths],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = next((line for line in reversed(found.stdout.splitlines()) if line.strip()), "no output").strip("= ")
    return {"result": last} if found.returncode == 0 else {"failed": last}


def matmul(machine: Machine) -> Numbers:
    """The rate of one large product in bfloat16, and of a copy."""
    size = 256 if machine.smoke else 8192
    a, b = (torch.randn(size, size, device=machine.device, dtype=torch.bfloat16) for _ in range(2))
    spent = machine.seconds(lambda: a @ b, rounds=20)
    source = torch.empty(size * size * (1 if machine.smoke else 16), device=machine.device)
    target = torch.empty_like(source)
    copied = machine.seconds(lambda: target.copy_(source), rounds=20)
    return {"tflops": 2 * size**3 / spent / 1e12, "copy_tb_s": 2 * source.numel() * 4 / copied / 1e12}


def step(machine: Machine, name: str, how: str) -> Numbers:
    """A step of the 5B with one clip."""
    config, clip = machine.config(), SMOKE_CLIP if machine.smoke else CLIPS[name]
    compute = COMPUTE[how]
    if machine.smoke:  # compiling takes a minute on a CPU and shows nothing
        compute = compute.model_copy(update={"torch_compile": False})
    seconds, flops = train_step(machine, config, clip, compute)
    forward = flops.linear_flops + flops.attention_flops
    peak = peak_flops(torch.cuda.get_device_name(machine.device)) if machine.device.type == "cuda" else None
    return {
        "step_s": seconds,
        "tokens": flops.tokens,
        "tokens_per_s": flops.tokens / seconds,
        "mfu": None if peak is None else 3 * forward / seconds / peak,
        "work_tflop": (4 if compute.gradient_checkpointing else 3) * forward / 1e12,
        "memory_gib": peak_memory_gib(machine.device),
    }


def fsdp(machine: Machine) -> Numbers:
    """The step with recomputation under FSDP2 in a group of one process."""
    backend = "nccl" if machine.device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        return step(machine, "480x832x81", "recompute")
    finally:
        distributed.destroy_process_group()


def conditions(machine: Machine) -> Numbers:
    """Phases and sound as a share of a block: the difference between three blocks and one, with them and without."""
    clip = SMOKE_CLIP if machine.smoke else CLIPS["704x1280x125"]

    def seconds(blocks: int, *, full: bool) -> float:
        changes = {} if full else {"phase_binding": (), "audio_depth_schedule": "none"}
        config = machine.config(num_layers=blocks, **changes)
        return train_step(machine, config, clip, COMPUTE["plain"])[0]

    with_them, without = (seconds(3, full=full) - seconds(1, full=full) for full in (True, False))
    return {"block_s": without / 2, "share": with_them / without - 1}


def ablation(machine: Machine) -> Numbers:
    """A step of the tiny model in each arm, and the hours of the ablation's training by it."""
    spent: Numbers = {}
    for arm, binding in ARMS.items():
        fields = tiny_config().model_dump() | {"phase_binding": binding} | ({"num_layers": 1} if machine.smoke else {})
        config = ActAvatarConfig(**fields)
        clip, count = ((5, 64, 64), 2) if machine.smoke else ((33, 64, 64), 16)
        seconds, _ = train_step(machine, config, clip, COMPUTE["plain"], count=count)
        spent[f"{arm}_step_s"] = seconds
    mean = statistics.fmean(float(str(value)) for value in spent.values())
    return spent | {"hours_of_ablation": mean * ABLATION_STEPS * ABLATION_RUNS / 3600}


def syncnet(machine: Machine) -> Numbers:
    """SyncNet with random weights: mouth windows and sound windows per second."""
    try:
        from syncnet_python.SyncNetModel import S  # noqa: PLC0415 - an extra
    except ImportError as error:
        return {"skipped": f"the extra `syncnet` is not installed: {error}"}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "random.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in S().state_dict().items()}, file)
        settings = SyncNetNetworkSettings(device=str(machine.device))
        net = SyncNet(file, sha256=file_sha256(file), settings=settings)
        net.open()
    count = 8 if machine.smoke else SYNCNET_CROPS
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (count, 224, 224, 3), np.uint8)
    sound = rng.standard_normal(640 * (count + 8)).astype(np.float32)

    def mouths() -> None:
        for first in range(0, count - 4, 64):
            net.embed_mouths(crops[first : first + 68])

    return {
        "mouth_windows_per_s": (count - 4) / machine.seconds(mouths, rounds=3),
        "sound_windows_per_s": count / machine.seconds(lambda: net.embed_audio(sound, 0, count), rounds=3),
    }


Part = Callable[[Machine], Numbers]
STEPS = [(name, how) for name in CLIPS for how in COMPUTE]
PARTS: dict[str, Part] = {
    "tests": tests,
    "matmul": matmul,
    **{f"step-{name}-{how}": partial(step, name=name, how=how) for name, how in STEPS},
    "conditions": conditions,
    "fsdp": fsdp,
    "ablation": ablation,
    "syncnet": syncnet,
}
LIMIT_S = {"tests": 90, "matmul": 20, "conditions": 45, "fsdp": 30, "ablation": 30, "syncnet": 30}
STEP_LIMIT_S = {"480x832x81": 25, "704x1280x125": 42}
COMPILE_FACTOR = 1.4
TOTAL_S = 600


def limit_s(part: str) -> float:
    """Seconds after which a part is stopped."""
    size = next((limit for name, limit in STEP_LIMIT_S.items() if name in part), 0)
    return LIMIT_S.get(part, size * (COMPILE_FACTOR if part.endswith("compile") else 1))


def run_part(part: str, *, smoke: bool) -> Numbers:
    """The numbers of a part from a process of its own, or why there are none."""
    command = [sys.executable, __file__, "-", "--part", part, *(["--smoke"] if smoke else [])]
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s(part), check=False)
        found: Numbers = (
            json.loads(ran.stdout.splitlines()[-1]) if ran.returncode == 0 else {"failed": _last_line(ran.stderr)}
        )
        return found
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped after {limit_s(part):.0f} s"}


def _last_line(text: str) -> str:
    return next((line.strip()[:300] for line in reversed(text.splitlines()) if line.strip()), "no message")


def tables(done: Mapping[str, Numbers]) -> str:
    """All numbers as Markdown."""
    rate = done.get("matmul", {}).get("tflops")
    lines = ["| step | step, s | floor, s | tokens/s | MFU | peak memory, GiB |", "|---|---|---|---|---|---|"]
    for part, numbers in done.items():
        if "step_s" in numbers:
            floor = "-" if rate is None else f"{_number(numbers, 'work_tflop') / float(rate):.2f}"
            mfu = "-" if numbers["mfu"] is None else f"{_number(numbers, 'mfu'):.1%}"
            lines.append(
                f"| {part.removeprefix('step-')} | {_number(numbers, 'step_s'):.3g} | {floor} | "
                f"{_number(numbers, 'tokens_per_s'):.0f} | {mfu} | {_number(numbers, 'memory_gib'):.1f} |"
            )
    lines += ["", "| part | numbers |", "|---|---|"]
    for part, numbers in done.items():
        if "step_s" not in numbers:
            shown = [f"{key} {one:.3g}" if isinstance(one, float) else f"{key} {one}" for key, one in numbers.items()]
            lines.append(f"| {part} | {', '.join(shown)} |")
    return "\n".join(lines)


def _number(numbers: Numbers, key: str) -> float:
    return float(numbers[key] or 0)


def run_parts(folder: Path, parts: list[str], *, smoke: bool, device: str) -> int:
    """Run what is not finished; the number of parts without numbers."""
    file = folder / "parts.json"
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    key = {"device": device, "smoke": smoke, "torch": torch.__version__}
    if stored and stored["machine"] != key:
        raise SystemExit(f"{file}: expected results of {key}, got those of {stored['machine']}; give another folder")
    done: dict[str, Numbers] = stored.get("parts", {})
    begun = time.perf_counter()
    for part in parts:
        if part in done and "failed" not in done[part]:
            continue
        left = TOTAL_S - (time.perf_counter() - begun)
        if left < limit_s(part) and not smoke:
            print(f"{part}: not begun, {left:.0f} s are left; run the command again", file=sys.stderr, flush=True)
            continue
        part_began = time.perf_counter()
        numbers = PARTS[part](Machine(device=torch.device("cpu"), smoke=True)) if smoke else run_part(part, smoke=False)
        done[part] = numbers | {"part_s": round(time.perf_counter() - part_began, 1)}
        print(f"{part}: {json.dumps(done[part])}", file=sys.stderr, flush=True)
        write_text(file, json.dumps({"machine": key, "parts": done}, indent=1))
    print(f"{device}, torch {torch.__version__}{', smoke sizes: no measurement' if smoke else ''}\n\n{tables(done)}")
    return sum(part not in done or "failed" in done[part] for part in parts)


def main() -> int:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS), metavar="PART")
    parser.add_argument("--skip", nargs="+", default=[], choices=list(PARTS), metavar="PART")
    parser.add_argument("--list", action="store_true", help="names and time limits; run nothing")
    parser.add_argument("--smoke", action="store_true", help="on the CPU, at sizes that say nothing about speed")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)  # one part, in a process of its own
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{part}: {limit_s(part):.0f} s" for part in PARTS))
        return 0
    if not given.smoke and not torch.cuda.is_available():
        raise SystemExit("expected a CUDA device, got none; --smoke runs every part on the CPU at tiny sizes")
    machine = Machine(device=torch.device("cpu" if given.smoke else "cuda:0"), smoke=given.smoke)
    if given.part is not None:
        try:
            print(json.dumps(PARTS[given.part](machine)))
        except RunError as error:
            raise SystemExit(str(error)) from error
        return 0
    name = "a CPU" if given.smoke else torch.cuda.get_device_name(machine.device)
    parts = [part for part in given.only if part not in given.skip]
    return 1 if run_parts(given.folder, parts, smoke=given.smoke, device=name) else 0


if __name__ == "__main__":
    sys.exit(main())
