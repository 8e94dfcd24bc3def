"""Fit the upscaler of the codec of drawn people, which the package ships: python benchmarks/fit_upscaler.py FOLDER RUN

RUN is a finished run of the tiny size, as `benchmarks/pretrain.py` leaves one. Drawn people act; their clips are noised
to several levels and sampled from there by the model of RUN (SDEdit), so that its samples show the same motion as the
drawing, with the errors that it makes. The network sees the samples in 64 pixels, or the codec's own reconstruction,
and learns the drawing in 128: first the optical flow back to the first frame, of which OpenCV's DIS flow of the drawn
pictures is the truth, then the picture. The table is of people outside its training set: PSNR and SSIM of the enlarged
picture against the drawn one, beside bilinear enlargement. FOLDER keeps films, cache and samples.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from puppet_set import EVERY_HEAD_ACT
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from xsheet.curate.media.reader import open_media
from xsheet.demo.drawn_set import STRETCH_FRAMES, SetMember, acting_film, draw_set, spread_actions
from xsheet.model.conditioning import GuidanceSettings
from xsheet.model.config import FRAMES_PER_LATENT
from xsheet.model.encoders.upscaler import SCALE, UPSCALER_FILE, FlowEstimator, Upscaler, moved, with_context
from xsheet.model.encoders.video import to_float, to_uint8
from xsheet.runtime.executor import Execution
from xsheet.train.data.cache.build import build_cache
from xsheet.train.data.cache.files import save_tensors
from xsheet.train.data.framing import BucketFit, fit_to_bucket
from xsheet.train.data.settings import PictureEncodingSettings
from xsheet.train.evaluate.evaluate import open_training_cache, sample_request
from xsheet.train.evaluate.held_out import HeldOutClip, held_out_clips
from xsheet.train.sample.sampler import SampleSettings, TrainedModel, load_trained, sample_latents, to_batch

SEED, DRAWN = 31, 256
START_SIGMAS = (0.3, 0.5, 0.7, 0.85, 0.93)
"""Noise levels from which clips are sampled; above, the motion is no longer the drawing's."""
SAMPLING = SampleSettings(steps=25, guidance=GuidanceSettings(scale=3))
CLIP = 33
"""Frames of a clip."""
WEIGHTS = Path(__file__).resolve().parent.parent / "model" / "encoders" / "weights"


def member(index: int, *, train: int) -> SetMember:
    """One person who acts; the first `train` are fitted."""
    actions = partial(spread_actions, mix=EVERY_HEAD_ACT)
    film = acting_film(index, seed=SEED, frames=STRETCH_FRAMES, actions=actions)
    return SetMember(film=film, split="train" if index < train else "test")


def drawn_pictures(set_folder: Path, clip: HeldOutClip, settings: PictureEncodingSettings) -> Tensor:
    """The crop that the model saw in twice its size, uint8 (T, 3, 2H, 2W)."""
    large = settings.model_copy(update={"resolutions": [(SCALE * h, SCALE * w) for h, w in settings.resolutions]})
    series = (clip.signals.head_x, clip.signals.head_y, clip.signals.head_height)
    x, y, height = (float(np.median([value for value in one or () if value is not None])) for one in series)
    framing = fit_to_bucket(clip.clip, large, face=(x, y, height))
    assert isinstance(framing, BucketFit), framing
    with open_media(set_folder / clip.clip.media_path, root=set_folder) as media:
        shown = [framing.crop_picture(one.rgb) for one in media.frames(rate=settings.rate, size=framing.scaled_size)]
    return torch.from_numpy(np.stack(shown[:CLIP])).movedim(-1, 1)


@torch.no_grad()
def sampled(clips: list[HeldOutClip], trained: TrainedModel) -> Tensor:
    """The codec's reconstruction and one sample per start level, uint8 (L, B, T, 3, H, W)."""
    requests = [sample_request(clip, clip.annotation, trained) for clip in clips]
    batch = to_batch(
        requests, encoders=trained.encoders, phases=trained.settings.stage(trained.stage).dataset.mark_phases
    )
    latent = torch.stack([clip.latent_CFHW for clip in clips])
    batch.latent_BCFHW.copy_(latent)
    found = [latent, *(sample_latents(trained.model, batch, SAMPLING, start_sigma=sigma) for sigma in START_SIGMAS)]
    return torch.stack([trained.encoders.video.decode(one).movedim(-1, 2) for one in found])


def make_pairs(folder: Path, run: Path, *, people: int, held_out: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Small pictures (L, N, T, 3, H, W) and drawn ones (N, T, 3, 2H, 2W) of people to fit on and of others."""
    trained, set_folder = load_trained(run), folder / "set"
    draw = partial(member, train=people)
    draw_set(set_folder, draw, count=people + held_out, name="upscaler", size_px=DRAWN)
    cached = trained.settings.cache
    cached = cached.model_copy(update={"text": cached.text.model_copy(update={"layer": "gold"})})
    build_cache(set_folder, cached, execution=Execution(jobs=2), shows_progress=False)
    cache, pairs = open_training_cache(trained, set_folder, layer="gold"), []
    for split in ("train", "test"):
        file = folder / f"{split}.safetensors"
        if not file.is_file():
            clips = list(held_out_clips(cache, split=split, limit=people + held_out))
            small = [sampled(clips[k : k + 16], trained) for k in range(0, len(clips), 16)]
            large = [drawn_pictures(set_folder, clip, cached.picture) for clip in clips]
            save_tensors(file, {"small": torch.cat(small, dim=1), "large": torch.stack(large)})
            print(f"{split}: {len(clips)} people", flush=True)
        pairs.append(load_file(file))
    return pairs[0], pairs[1]


def drawn_flows(large_NT3HW: Tensor) -> tuple[Tensor, Tensor]:
    """Flow of each drawn frame back to the first, (N, T, 2, H/2, W/2) in half sides, and its trust, 0..1."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    side = large_NT3HW.shape[-1]
    found = []
    for clip_T3HW in large_NT3HW:
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip_T3HW.movedim(1, -1).numpy()]
        flows: list[cv2.typing.MatLike] = [np.zeros((side, side, 2), np.float32)]
        for frame in grey[1:]:  # each begins with the one before: a head moves further than the method reaches at once
            flows.append(dis.calc(frame, grey[0], flows[-1].copy()))
        found.append(torch.from_numpy(np.stack(flows)).movedim(-1, 1) / (side / 2))
    flow_NT2HW = torch.stack([functional.avg_pool2d(one, SCALE) for one in found])
    wrong = []
    for clip_T3HW, flow_T2HW in zip(large_NT3HW, flow_NT2HW, strict=True):
        drawn = to_float(clip_T3HW)
        wide = functional.interpolate(flow_T2HW, scale_factor=SCALE, mode="bilinear")
        error = (moved(drawn[:1].expand_as(drawn), wide) - drawn).abs().mean(1, keepdim=True)
        wrong.append(functional.avg_pool2d(error, SCALE))
    return flow_NT2HW, 1 / (1 + (torch.stack(wrong) / 0.1) ** 2)


def fit_flow(model: FlowEstimator, pairs: dict[str, Tensor], *, steps: int, batch: int = 16) -> Iterator[float]:
    """Adam on the flow of the drawn pictures; yields the share of it that each batch leaves unexplained.

    The first 500 steps show little; squared errors count beside absolute ones, since most pixels keep still.
    """
    flow_NT2HW, trust_NT1HW = drawn_flows(pairs["large"])
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    levels, people, frames = pairs["small"].shape[:3]
    for _ in range(steps):
        chosen = [[int(torch.randint(n, (), generator=rng)) for n in (levels, people, frames)] for _ in range(batch)]
        seen = torch.stack([frame_with_context(pairs["small"][a, b], t) for a, b, t in chosen])
        wanted = torch.stack([flow_NT2HW[b, t] for _, b, t in chosen])
        trust = torch.stack([trust_NT1HW[b, t] for _, b, t in chosen])
        if torch.rand((), generator=rng) < 0.5:
            seen, trust = seen.flip(-1), trust.flip(-1)
            wanted = wanted.flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None]
        missed = model(seen) - wanted
        error = ((missed.square() + 1e-4).sqrt() * trust).mean() + 10 * (missed.square() * trust).mean()
        optimizer.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        schedule.step()
        yield float((missed.detach().square() * trust).sum() / (wanted.square() * trust).sum().clamp(min=1e-3))


def fit(model: Upscaler, pairs: dict[str, Tensor], *, steps: int, batch: int = 4) -> Iterator[float]:
    """Adam on the absolute error of pictures and of their gradients in space and time; yields the error of every step.

    A batch is clips of the first frame and two consecutive ones, every second pair across two latent frames, where
    samples jump. The flow keeps its weights: errors of pictures alone pull it into wrong places.
    """
    rng = torch.Generator().manual_seed(0)
    model.motion.requires_grad_(requires_grad=False)
    weights = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-4, total_steps=steps, pct_start=0.05)
    levels, people, frames = pairs["small"].shape[:3]
    for _ in range(steps):
        seen_clips, wanted_clips = [], []
        for k in range(batch):
            level, person, frame = (int(torch.randint(n, (), generator=rng)) for n in (levels, people, frames - 1))
            frame -= frame % FRAMES_PER_LATENT if k % 2 else 0
            shown = (0, frame, frame + 1)
            seen_clips.append(torch.stack([frame_with_context(pairs["small"][level, person], t) for t in shown]))
            wanted_clips.append(to_float(pairs["large"][person, list(shown)]))
        seen, wanted = torch.stack(seen_clips), torch.stack(wanted_clips)
        if torch.rand((), generator=rng) < 0.5:
            seen, wanted = seen.flip(-1), wanted.flip(-1)
        missed = model(seen) - wanted
        in_time = missed[:, 2] - missed[:, 1]
        error = missed.abs().mean() + in_time.abs().mean() + sum(missed.diff(dim=axis).abs().mean() for axis in (3, 4))
        optimizer.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        yield float(error.detach())


def frame_with_context(clip_T3HW: Tensor, frame: int) -> Tensor:
    """One frame of `with_context`, float (12, H, W)."""
    near = [0, max(frame - 1, 0), frame, min(frame + 1, len(clip_T3HW) - 1)]
    first, before, here, after = to_float(clip_T3HW[near])
    return torch.cat([here, before, after, first])


def quality(found: Tensor, wanted: Tensor) -> tuple[float, float]:
    """PSNR in dB and SSIM (11 x 11 mean windows) of pictures in -1..1, (N, 3, H, W)."""
    mse = (found - wanted).square().mean((1, 2, 3))
    mean = partial(functional.avg_pool2d, kernel_size=11, stride=1)
    mean_a, mean_b = mean(found), mean(wanted)
    var_a = mean(found**2) - mean_a**2
    var_b = mean(wanted**2) - mean_b**2
    both = mean(found * wanted) - mean_a * mean_b
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    ssim = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float((10 * torch.log10(4 / mse)).mean()), float(ssim.mean())


def jump(clips_NT3HW: Tensor) -> float:
    """Change from one latent frame to the next over the change within latent frames; 1 = not visible."""
    change_T = clips_NT3HW.diff(dim=1).abs().mean((0, 2, 3, 4))
    across = torch.arange(len(change_T)) % FRAMES_PER_LATENT == 0
    return float(change_T[across].mean() / change_T[~across].mean())


@torch.no_grad()
def table(model: Upscaler, pairs: dict[str, Tensor]) -> Iterator[str]:
    """Quality on people that were not fitted, by the level from which the clip was sampled."""
    yield "| sampled from σ of | bilinear: PSNR, SSIM | upscaler: PSNR, SSIM | jump between latent frames |"
    yield "|---|---|---|---|"
    wanted = to_float(pairs["large"][:, 2::3]).flatten(0, 1)
    for level, clips_NT3HW in zip(("codec alone", *START_SIGMAS), pairs["small"], strict=True):
        plain = to_float(clips_NT3HW[:, 2::3]).flatten(0, 1)
        bilinear = functional.interpolate(plain, scale_factor=SCALE, mode="bilinear")
        whole = torch.stack([model(with_context(to_float(clip))[None])[0] for clip in clips_NT3HW])
        enlarged = whole[:, 2::3].flatten(0, 1)
        cells = [f"{psnr:.1f} dB, {ssim:.3f}" for psnr, ssim in (quality(one, wanted) for one in (bilinear, enlarged))]
        yield f"| {level} | {' | '.join(cells)} | {jump(whole):.2f} |"
    yield f"| drawn | | | {jump(to_float(pairs['large'])):.2f} |"


@torch.no_grad()
def picture(model: Upscaler, pairs: dict[str, Tensor], file: Path) -> None:
    """Write samples from the highest level, enlarged ones and drawn ones, one person a column."""
    clips, frame = pairs["small"][-1, :8], 20
    small = torch.stack([to_float(clip[frame]) for clip in clips])
    enlarged = torch.stack([model(with_context(to_float(clip))[None])[0, frame] for clip in clips])
    rows = (functional.interpolate(small, scale_factor=SCALE), enlarged, to_float(pairs["large"][:8, frame]))
    grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).movedim(0, -1)
    cv2.imwrite(str(file), cv2.cvtColor(to_uint8(grid).numpy(), cv2.COLOR_RGB2BGR))


def main() -> None:
    """Draw, sample, fit, measure, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--held-out", type=int, default=20)
    parser.add_argument("--flow-steps", type=int, default=4700)
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--write", action="store_true", help="write the weights into the package")
    parser.add_argument("--picture", type=Path, help="write a PNG: samples, enlarged samples and drawn heads")
    given = parser.parse_args()
    fitted, others = make_pairs(given.folder, given.run, people=given.people, held_out=given.held_out)
    torch.manual_seed(0)
    model = Upscaler()
    for step, unexplained in enumerate(fit_flow(model.motion, fitted, steps=given.flow_steps)):
        if step % 100 == 0:
            print(f"flow, step {step}  unexplained {unexplained:.3f}", flush=True)
    for step, error in enumerate(fit(model, fitted, steps=given.steps)):
        if step % 100 == 0:
            print(f"step {step}  error {error:.4f}", flush=True)
    print("\n".join(table(model, others)))
    if given.write:
        save_tensors(WEIGHTS / UPSCALER_FILE, {key: tensor.half() for key, tensor in model.state_dict().items()})
    if given.picture is not None:
        picture(model, others, given.picture)


if __name__ == "__main__":
    main()
