"""`diffusion-pipe`: captions beside the videos, and dataset.toml.

Rules (tdrussell/diffusion-pipe, examples/dataset.toml at 5145971c and models/base.py at 0467b63c):
* a `[[directory]]` is searched for media files, each with its caption in a .txt of the same name;
* a video is resampled to the frame rate of the model (Wan 2.1: 16), then goes into the longest of `frame_buckets` that
  it fills; shorter than all, it is dropped;
* a bucket is rounded down to 4n + 1 frames; `single_beginning`, the default, takes the first ones.

Export at the frame rate of the model (`--fps 16`), so that the buckets count the frames of the files.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.export.forms.musubi import common_size, toml_string
from xsheet.export.forms.plain import by_split, write_captions
from xsheet.export.samples import ExportSample
from xsheet.export.settings import ExportSettings
from xsheet.schemas.files import write_text


def write_diffusion_pipe(
    out: Path, samples: Sequence[ExportSample], settings: ExportSettings, *, location: str
) -> Iterator[Path]:
    """Write the captions and the TOML of the training split; yields the files."""
    yield from write_captions(out, samples)
    split, members = next(iter(by_split(samples).items()))
    width, height = common_size(members, multiple=16)
    lengths = sorted({settings.largest_allowed(sample.frames) for sample in members})
    buckets = sorted({1, lengths[0], lengths[len(lengths) // 2], lengths[-1]})
    text = (
        f"resolutions = [[{width}, {height}]]\nenable_ar_bucket = true\nmin_ar = 0.5\nmax_ar = 2.0\n"
        f"num_ar_buckets = 7\nframe_buckets = {buckets}\n\n"
        f"[[directory]]\npath = {toml_string(f'{location}/{split}')}\nnum_repeats = 1\n"
    )
    write_text(out / "dataset.toml", text)
    yield out / "dataset.toml"
