"""`diffusion-pipe`: captions beside the videos, and dataset.toml.

Rules (tdrussell/diffusion-pipe, examples/dataset.toml at 5145971c and models/base.py at 0467b63c):
* a `[[directory]]` is searched for media files, each with its caption in a .txt of the same name;
* a video of n frames at a rate is resampled to int(n · model's rate / rate) frames (Wan 2.1: 16 per second), then goes
  into the longest of `frame_buckets` that it fills; it is dropped if it fills none but that of images, 1;
* a bucket is rounded down to 4n + 1 frames; `single_beginning`, the default, takes the first ones.

The buckets count frames at 16 per second, the slowest of its models, so that no video is dropped by a faster one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.export.forms.musubi import common_size, toml_string
from xsheet.export.forms.plain import by_split, write_captions
from xsheet.export.samples import ExportSample
from xsheet.export.settings import ExportSettings
from xsheet.schemas.files import write_text

SLOWEST_RATE = 16  # frames per second of Wan 2.1


def write_diffusion_pipe(
    out: Path, samples: Sequence[ExportSample], settings: ExportSettings, *, location: str
) -> Iterator[Path]:
    """Write the captions and the TOML of the training split; yields the files."""
    yield from write_captions(out, samples)
    split, members = next(iter(by_split(samples).items()))
    width, height = common_size(members, multiple=16)
    rate = min(settings.fps, SLOWEST_RATE)
    lengths = sorted({settings.largest_allowed(sample.frames * rate // settings.fps) for sample in members})
    buckets = sorted({1, lengths[0], lengths[len(lengths) // 2], lengths[-1]})
    text = (
        f"resolutions = [[{width}, {height}]]\nenable_ar_bucket = true\nmin_ar = 0.5\nmax_ar = 2.0\n"
        f"num_ar_buckets = 7\nframe_buckets = {buckets}\n\n"
        f"[[directory]]\npath = {toml_string(f'{location}/{split}')}\nnum_repeats = 1\n"
    )
    write_text(out / "dataset.toml", text)
    yield out / "dataset.toml"
