"""Clips, and annotations as the contract allows them: random ones, and the truth about the puppet."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import strategies as st

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, KinematicPhase, Phase, annotation_id, sorted_phases
from xsheet.schemas.clip import Clip

FRAMES = 125
DURATION_US = FRAMES * 40_000


def make_clip(name: str, *, frames: int = FRAMES, clip_id: str | None = None) -> Clip:
    """A clip whose media has a file name."""
    return Clip(
        clip_id=clip_id or name, source_id="src_1", start_us=0, end_us=frames * 40_000,
        media_path=f"media/cl/{name}.mp4", media_sha256="ab" * 32, frames=frames, samples=0, width=64, height=64,
    )  # fmt: skip


BASE = Base(
    text="A person in a green shirt speaks to the camera.", subject="a person in a green shirt",
    framing="head_shoulders", scene="plain wall", camera="static", speaking="speaking",
)  # fmt: skip


def make_phase(**changes) -> Phase:
    values = {
        "phase_id": "p0", "track": "head", "start_us": 400_000, "end_us": 1_200_000, "action": "nod",
        "text": "nods twice", "laterality": "none", "kind": "action", "origin": "motion",
    }  # fmt: skip
    return Phase(**values | changes)


def make_annotation(*phases: Phase, **changes) -> Annotation:
    text_base, phases = changes.get("base", BASE), sorted_phases(phases)
    values = {
        "annotation_id": annotation_id(
            clip_id="clip_1", layer="gold", run_id="run_1", sample_index=None, base=text_base, phases=phases
        ),
        "vocab_version": vocab.VOCAB_VERSION, "clip_id": "clip_1", "layer": "gold", "run_id": "run_1",
        "status": "ok", "duration_us": DURATION_US, "base": text_base, "phases": phases,
    }  # fmt: skip
    return Annotation(**values | changes)


# Anything a model or a reviewer may write, with what formats and pages trip over.
words = st.one_of(
    st.text(min_size=3, max_size=60),
    st.sampled_from(
        [
            "=cmd|' /C calc'!A0",
            "'tis so",
            "@SUM(A1)",
            "nods --> twice",
            "<script>alert(1)</script>",
            "a & b &amp; c",
            "line\n\nline",
            "tab\there\r\nend",
            "ünï 手を振る",
            " spaces ",
            "]]> <!--",
            "\x00\x01 control",
            "-1+2",
            "'''",
        ]
    ),
)
optional = st.none() | words


@st.composite
def kinematics(draw, start_us: int, end_us: int) -> tuple[KinematicPhase, ...]:
    if draw(st.booleans()):
        return ()
    names = draw(st.sampled_from([("preparation", "stroke"), ("stroke", "retraction"), ("stroke",), ("rest",)]))
    edges = sorted(draw(st.sets(st.integers(start_us, end_us), min_size=len(names) + 1, max_size=len(names) + 1)))
    return tuple(
        KinematicPhase(phase=n, start_us=a, end_us=b) for n, a, b in zip(names, edges, edges[1:], strict=False)
    )


@st.composite
def phases(draw, number: int, track: str, start_us: int, end_us: int) -> Phase:
    side = vocab.SIDED_TRACK.get(track) or draw(st.sampled_from(get_args(vocab.Laterality)))
    number_or_none = st.none() | st.integers(0, 3)
    return Phase(
        phase_id=draw(st.sampled_from(["p", "ph.a:", "x-_"])) + str(number),
        track=track,
        start_us=start_us,
        end_us=end_us,
        action=draw(st.sampled_from(vocab.ACTIONS)),
        action_raw=draw(optional),
        text=draw(words),
        text_short=draw(optional),
        body_parts=tuple(draw(st.lists(st.sampled_from(get_args(vocab.BodyPart)), max_size=3))),
        laterality=side,
        kind=draw(st.sampled_from(get_args(vocab.PhaseKind))),
        amplitude=draw(number_or_none),
        speed=draw(number_or_none),
        repetitions=draw(st.none() | st.integers(1, 9)),
        kinematics=draw(kinematics(start_us, end_us)),
        visibility=draw(st.none() | st.floats(0, 1)),
        confidence=draw(st.none() | st.floats(0, 1)),
        origin=draw(st.sampled_from(["motion", "vlm", "import"])),
    )


@st.composite
def any_annotation(draw, *, step_us: int = 1) -> Annotation:
    """An annotation of `clip`; with `step_us` all times of phases are multiples of it."""
    made = []
    for track in draw(st.sets(st.sampled_from(vocab.TRACKS), max_size=4)):
        at = 0
        for _ in range(draw(st.integers(1, 3))):
            start = at + step_us * draw(st.integers(0, 800_000 // step_us))
            end = start + step_us * draw(st.integers(-(-120_000 // step_us), 1_000_000 // step_us))
            if end > DURATION_US:
                break
            made.append(draw(phases(len(made), track, start, end)))
            at = end
    text_base = replace(BASE, scene=draw(words), emotion=draw(optional), text="A long text. " * 2 + draw(words))
    layer = draw(st.sampled_from(["raw", "gold", "imported"]))
    return make_annotation(*made, base=text_base, layer=layer)


@pytest.fixture(scope="session")
def clip_named():
    """A factory for a clip whose media has a file name."""
    return make_clip


@pytest.fixture(scope="session")
def clip() -> Clip:
    """The clip that `phase`, `annotation` and `annotations` are about: 5 s."""
    return make_clip("clip_1")


@pytest.fixture(scope="session")
def phase():
    """A factory for one valid phase, with changes."""
    return make_phase


@pytest.fixture(scope="session")
def annotation():
    """A factory for one valid annotation of phases, with changes."""
    return make_annotation


@pytest.fixture(scope="session")
def annotations():
    """A strategy for annotations of `clip`; with `step_us` all times of phases are multiples of it."""
    return any_annotation


@pytest.fixture(scope="session")
def puppet():
    """Clips and gold annotations of some films of the puppet, as planted."""
    from xsheet.demo.film import truth
    from xsheet.demo.film.plan import plan_film

    rows = [row for index in range(6) for row in truth.truth_rows(plan_film(index, seed=3), f"src_{index}")]
    found = [row for row in rows if isinstance(row, Annotation)]
    return [make_clip(one.clip_id, frames=one.duration_us // 40_000) for one in found], found
