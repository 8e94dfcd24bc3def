"""A film of hours is one result, and no limit on the size of results fails it."""

from dataclasses import fields

import pytest

from xsheet.curate.media.limits import MediaLimits
from xsheet.runtime.result_store import MAX_RESULT_BYTES, ResultStore
from xsheet.runtime.task import Outcome
from xsheet.schemas.source import FaceTrack, Timeline
from xsheet.schemas.time import CLIP_RATE

FACES_IN_VIEW = 6  # at every moment of the longest film


def track(frames: int) -> FaceTrack:
    """A face in view all the time, with all that can be measured; one value a second is missing."""
    values = tuple(None if k % 25 == 24 else 0.1 + k / 7 for k in range(frames))
    named = {field.name for field in fields(FaceTrack)} - {"identity_embedding", "identity_model", "blendshapes"}
    series = named - {"track_id", "source_id", "detector", "start_frame", "frames"}
    return FaceTrack(
        track_id="t", source_id="s", detector="d", start_frame=0, frames=frames,
        blendshapes=(values,) * 52, **dict.fromkeys(series, values),
    )  # fmt: skip


@pytest.mark.slow
def test_the_longest_film_with_six_faces_fits_into_a_result(tmp_path):
    minute, store = track(CLIP_RATE.num * 60), ResultStore(tmp_path, "planted")
    timeline = Timeline(source_id="s", frames=minute.frames, extractor="e", voice=minute.mouth_open)
    store.write(Outcome(key="ab" * 8, name="film", status="ok"), [timeline, minute])
    assert list(store.rows("ab" * 8, FaceTrack)) == [minute]
    minute_bytes = sum(map(len, store.lines("ab" * 8)))
    assert minute_bytes * MediaLimits().max_duration_s / 60 * FACES_IN_VIEW < MAX_RESULT_BYTES
