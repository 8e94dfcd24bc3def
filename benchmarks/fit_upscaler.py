"""Fit the upscaler of the analytic codec, which the package ships: python benchmarks/fit_upscaler.py [--write]

Heads of drawn people in 128 pixels; the network sees them in 64 through the codec, with errors in the bands as large as
those of a model's samples, and with none. The table is of people outside its training set: PSNR and SSIM of the
enlarged picture against the drawn one, beside bilinear enlargement of the same pictures.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xsheet.demo.film.plan import plan_film
from xsheet.demo.puppet.draw import Puppet, add_camera_noise
from xsheet.demo.puppet.identity import random_identity
from xsheet.model.encoders.upscaler import SCALE, UPSCALER_FILE, Upscaler
from xsheet.model.encoders.video import DctCodec, to_float, to_uint8
from xsheet.train.data.cache.files import save_tensors

SEED, DRAWN, LARGE = 31, 256, 128
CROP = 32  # pixels of the small picture that a step sees: a quarter of the cost
CLIP = 9  # frames, ten a second: latent 0 and two more
BAND_ERROR = 0.25  # greatest, in deviations of a band; a finished base is off by about as much
WEIGHTS = Path(__file__).resolve().parent.parent / "model" / "encoders" / "weights"


def draw_clip(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Nine frames of a head, with grain and without, (9, 128, 128, 3) each."""
    rng = np.random.default_rng((SEED, index))
    (take,) = plan_film(index, seed=SEED, kind="talk").shots
    member = take.cast_members[0]
    identity = random_identity(member.identity)
    puppet, scene = Puppet(identity, height_px=DRAWN), identity.scene
    start, reach = int(rng.integers(len(take.frames) - 22)), rng.uniform(0.7, 0.9) * scene.head_share
    x, y = 0.5 + scene.centre_x, scene.eye_line + 0.05 * scene.head_share
    left, top, right, bottom = (round(DRAWN * min(max(v, 0), 1)) for v in (x - reach, y - reach, x + reach, y + reach))
    grainy, clean = [], []
    for k in range(CLIP):
        picture = puppet.draw(member.motion.at(start + round(2.5 * k)))
        for shown, kept in ((add_camera_noise(picture, rng), grainy), (picture, clean)):
            kept.append(cv2.resize(shown[top:bottom, left:right], (LARGE, LARGE), interpolation=cv2.INTER_AREA))
    return np.stack(grainy).astype(np.uint8), np.stack(clean).astype(np.uint8)


def draw_people(indices: range) -> tuple[Tensor, Tensor]:
    """Latents (N, C, F, H, W) of the small grainy clips, and large clean pictures in -1..1, (N, 9, 3, 128, 128)."""
    codec, latents, large = DctCodec(), [], []
    for index in indices:
        grainy, clean = draw_clip(index)
        small = np.stack([cv2.resize(f, (LARGE // SCALE,) * 2, interpolation=cv2.INTER_AREA) for f in grainy])
        latents.append(codec.encode(torch.from_numpy(small)[None])[0])
        large.append(to_float(torch.from_numpy(clean)).movedim(-1, 1))
    return torch.stack(latents), torch.stack(large)


def fit(model: Upscaler, latent: Tensor, large: Tensor, *, steps: int) -> Iterator[float]:
    """Adam on the absolute error of pictures and of their gradients; yields the error of every step."""
    rng, codec = torch.Generator().manual_seed(0), DctCodec()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(latent), (8,), generator=rng)
        size = BAND_ERROR * torch.rand(8, 1, 1, 1, 1, generator=rng) * (torch.rand(8, 1, 1, 1, 1, generator=rng) < 0.7)
        noisy = latent[chosen] + size * torch.randn(latent[chosen].shape, generator=rng)
        frames = torch.randint(CLIP, (8, 2), generator=rng)
        row = torch.arange(8)[:, None]
        small = codec.synthesise(noisy).movedim(-1, 2)[row, frames].flatten(0, 1)
        x, y = torch.randint(LARGE // SCALE - CROP + 1, (2,), generator=rng).tolist()
        found = model(small[..., y : y + CROP, x : x + CROP])
        wanted = large[chosen][row, frames].flatten(0, 1)
        wanted = wanted[..., SCALE * y : SCALE * (y + CROP), SCALE * x : SCALE * (x + CROP)]
        error = (found - wanted).abs().mean() + sum(
            (found.diff(dim=axis) - wanted.diff(dim=axis)).abs().mean() for axis in (2, 3)
        )
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        schedule.step()
        yield float(error.detach())


def quality(found: Tensor, wanted: Tensor) -> tuple[float, float]:
    """PSNR in dB and SSIM (11 x 11 mean windows) of pictures in -1..1, (N, 3, H, W)."""
    mse = (found - wanted).square().mean((1, 2, 3))
    window = {"kernel_size": 11, "stride": 1}
    mean_a, mean_b = functional.avg_pool2d(found, **window), functional.avg_pool2d(wanted, **window)
    var_a = functional.avg_pool2d(found**2, **window) - mean_a**2
    var_b = functional.avg_pool2d(wanted**2, **window) - mean_b**2
    both = functional.avg_pool2d(found * wanted, **window) - mean_a * mean_b
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    ssim = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float((10 * torch.log10(4 / mse)).mean()), float(ssim.mean())


@torch.no_grad()
def table(model: Upscaler, latent: Tensor, large: Tensor) -> Iterator[str]:
    """Quality on people that were not fitted, without and with errors in the bands."""
    yield "| errors in the bands | bilinear: PSNR, SSIM | upscaler: PSNR, SSIM |\n|---|---|---|"
    rng, codec = torch.Generator().manual_seed(1), DctCodec()
    for size in (0.0, 0.1, 0.25):
        noisy = latent + size * torch.randn(latent.shape, generator=rng)
        small, wanted = codec.synthesise(noisy).movedim(-1, 2)[:, 1::3].flatten(0, 1), large[:, 1::3].flatten(0, 1)
        plain = functional.interpolate(small, scale_factor=SCALE, mode="bilinear")
        cells = [f"{psnr:.1f} dB, {ssim:.3f}" for psnr, ssim in (quality(one, wanted) for one in (plain, model(small)))]
        yield f"| {size} | {' | '.join(cells)} |"


def main() -> None:
    """Draw, fit, measure, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--write", action="store_true", help="write the weights into the package")
    parser.add_argument("--picture", type=Path, help="write a PNG: small, enlarged and drawn heads")
    given = parser.parse_args()
    torch.manual_seed(0)
    model = Upscaler()
    for step, error in enumerate(fit(model, *draw_people(range(given.people)), steps=given.steps)):
        if step % 100 == 0:
            print(f"step {step}  error {error:.4f}", flush=True)
    latent, large = draw_people(range(given.people, given.people + 30))
    print("\n".join(table(model, latent, large)))
    if given.write:
        save_tensors(WEIGHTS / UPSCALER_FILE, {key: tensor.half() for key, tensor in model.state_dict().items()})
    if given.picture is not None:
        small = DctCodec().synthesise(latent[:8]).movedim(-1, 2)[:, 4]
        rows = (functional.interpolate(small, scale_factor=SCALE), model(small).detach(), large[:8, 4])
        grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).movedim(0, -1)
        cv2.imwrite(str(given.picture), cv2.cvtColor(to_uint8(grid).numpy(), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
