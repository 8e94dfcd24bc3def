"""Fit the face reader of small pictures, which the package ships: python benchmarks/fit_face_reader.py FOLDER [--write]

FOLDER is that of `pretrain.py`, with its drawn people; signals are the truth of the drawing. The table says which share
of the variance of each series the reader misses (1 - r²) on people outside its training set, through the codec.
"""

import argparse
import logging
from pathlib import Path

from pretrain import SEED, base_settings
from puppet_set import EVERY_HEAD_ACT, make_set

from xsheet.runtime.executor import Execution
from xsheet.train.data.cache.build import build_cache, open_cache
from xsheet.train.data.cache.files import save_tensors
from xsheet.train.data.encoders import open_encoders
from xsheet.train.evaluate.held_out import measured_clips
from xsheet.train.evaluate.readers import FACE_SERIES
from xsheet.train.evaluate.small_reader import SHIPPED_FILE, FaceReaderSettings, fit_reader, unexplained_shares

WEIGHTS = Path(__file__).resolve().parent.parent / "train" / "evaluate" / "weights"


def main() -> None:
    """Draw, encode, fit, measure, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--write", action="store_true", help="write the weights into the package")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder, settings = given.folder / "set", base_settings(1).cache
    make_set(folder, train=given.films, held_out=given.held_out, seed=SEED, mix=EVERY_HEAD_ACT)
    built = build_cache(folder, settings, execution=Execution(jobs=2), shows_progress=False)
    cache, codec = open_cache(folder, built.spec), open_encoders(settings).video
    clips = measured_clips(cache, split="train", names=FACE_SERIES)
    reader = fit_reader(clips, codec, FaceReaderSettings(steps=given.steps))
    shares = unexplained_shares(reader, measured_clips(cache, split="test", names=FACE_SERIES), codec)
    print("| series | missed |\n|---|---|")
    print("\n".join(f"| {name} | {share:.2f} |" for name, share in shares.items()))
    if given.write:
        tensors = {key: tensor.half() for key, tensor in reader.net.state_dict().items()}
        save_tensors(WEIGHTS / SHIPPED_FILE, tensors | {"mean": reader.mean_S, "std": reader.std_S})


if __name__ == "__main__":
    main()
