"""Annotations made of a few words each, the same as columns."""

from collections.abc import Callable

import numpy as np
import pytest

from xsheet.audit.agreement.phase_arrays import PhaseArrays, phase_arrays
from xsheet.schemas.annotation import Annotation, Base, Phase, sorted_phases

BASE = Base(
    text="A drawn person in front of a plain wall.", subject="a drawn person", framing="face", scene="a wall",
    camera="static", speaking="speaking",
)  # fmt: skip


@pytest.fixture(scope="session")
def annotation() -> Callable[..., Annotation]:
    """annotation(("head", "nod", 0.4, 1.2), ..., clip="c0", seconds=5.0, **fields of the record)."""

    def make(*phases, clip="c0", seconds=5.0, confidences=None, **fields) -> Annotation:
        made = [
            Phase(
                phase_id=f"p{k}", track=track, start_us=round(start * 1e6), end_us=round(end * 1e6), action=action,
                text=f"does {action}", laterality={"arm_left": "left", "arm_right": "right"}.get(track, "none"),
                kind="action", origin="motion", confidence=confidences[k] if confidences else None,
            )
            for k, (track, action, start, end) in enumerate(phases)
        ]  # fmt: skip
        values = {
            "annotation_id": f"ann_{clip}_{fields.get('sample_index')}", "vocab_version": "2026.11", "clip_id": clip,
            "layer": "gold", "run_id": "run_a", "status": "ok", "duration_us": round(seconds * 1e6), "base": BASE,
            "phases": sorted_phases(made),
        }  # fmt: skip
        return Annotation(**values | fields)

    return make


@pytest.fixture(scope="session")
def units(annotation) -> Callable[..., PhaseArrays]:
    """The phases of one clip, as columns."""
    return lambda *phases, **fields: phase_arrays([annotation(*phases, **fields)])


@pytest.fixture(scope="session")
def random_units() -> Callable[..., PhaseArrays]:
    """Plausible columns of many clips: four tracks, phases of 0.2 to 2 s with gaps, on the frame grid."""

    def make(
        rng: np.random.Generator, *, clips=20, seconds=6.0, jitter_s=0.0, like: PhaseArrays | None = None
    ) -> PhaseArrays:
        if like is not None:
            return shifted(rng, like, jitter_s)
        of, track, action, start, end = [], [], [], [], []
        for clip in range(clips):
            for on in rng.choice(13, 4, replace=False):
                at = rng.integers(0, 30)
                while (stop := at + rng.integers(5, 50)) <= seconds * 25:
                    of.append(clip), track.append(on), action.append(rng.integers(0, 6))
                    start.append(at * 40_000), end.append(stop * 40_000)
                    at = stop + rng.choice([0, 10])
        rows = np.lexsort((start, track, of))
        columns = [np.array(column, dtype=np.int64)[rows] for column in (of, track, action, start, end)]
        ids = np.array([f"c{k:05d}" for k in range(clips)])
        length = np.full(clips, round(seconds * 1e6))
        return PhaseArrays(ids, np.zeros(clips, np.int64), length, *columns, np.full(len(of), np.nan))

    def shifted(rng, like, jitter_s):
        """Each boundary moved by up to jitter_s, in order of time within its track; classes kept."""
        key = np.repeat((like.annotation_index * 13 + like.track) * 10**9, 2)
        edges = np.stack([like.start_us, like.end_us], -1).ravel()
        moved = np.clip(
            edges + rng.uniform(-jitter_s, jitter_s, len(edges)) * 1e6, 0, like.duration_us[like.annotation_index[0]]
        )
        start, end = (np.sort(key + moved.astype(np.int64)) - key).reshape(-1, 2).T
        kept = end - start >= 120_000
        return PhaseArrays(
            like.clip_ids,
            like.sample_index,
            like.duration_us,
            like.annotation_index[kept],
            like.track[kept],
            like.action[kept],
            start[kept],
            end[kept],
            like.confidence[kept],
        )

    return make
