"""A preview of motion: one HTML file that plays a schematic face over its audio, with the script below it.

    write_preview(signals, script, audio, out, spreads=codec_spreads)

The file is self-contained.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from markupsafe import Markup
from scipy.io import wavfile

from xsheet.curate.media.audio import Samples
from xsheet.pages.environment import json_for_script, page_environment, read_resource
from xsheet.pages.images import data_uri
from xsheet.pages.wording import printable
from xsheet.schemas.clip import Signals
from xsheet.schemas.files import write_text
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE
from xsheet.train.sample.script import ActionScript

_PACKAGE = "xsheet.train.prior"
_DIGITS = 3


def write_preview(
    signals: Signals, script: ActionScript, audio: Samples, out: Path, *, spreads: Mapping[str, float]
) -> None:
    """Write the page.

    Args:
        signals: of sample_motion.
        script: what was requested.
        audio: 16 kHz mono.
        out: .html file, written atomically.
        spreads: unit of each series on the page: its usual spread.
    """
    environment = page_environment(_PACKAGE)
    data = {
        "fps": CLIP_RATE.num,
        "frames": signals.frames,
        "series": {name: _in_spreads(getattr(signals, name), spread) for name, spread in spreads.items()},
        "phases": [
            {"start_s": p.start_s, "end_s": p.end_s, "text": printable(p.text), "track": p.track}
            for p in sorted(script.phases, key=lambda phase: phase.start_s)
        ],
    }
    page = environment.get_template("page.html").render(
        base=script.base,
        data=json_for_script(data),
        audio=_wav_uri(audio),
        script=Markup(read_resource(_PACKAGE, "face.js")),
        seconds=signals.frames / CLIP_RATE.num,
    )
    write_text(out, page)


def _in_spreads(series: tuple[float | None, ...], spread: float) -> list[float]:
    return [round((value or 0.0) / spread, _DIGITS) for value in series]


def _wav_uri(audio: Samples) -> str:
    file = io.BytesIO()
    wavfile.write(file, AUDIO_RATE.num, np.asarray(np.clip(audio, -1, 1) * 32767, np.int16))
    return data_uri(file.getvalue(), "audio/wav")
