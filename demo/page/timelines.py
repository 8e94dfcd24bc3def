"""Timelines: the annotation of a clip with its planted actions, the request of a sample with the detected actions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xsheet.annotate.lookup import find_clip
from xsheet.annotate.text.training_text import clip_annotation, compile_training_text
from xsheet.audit.report.axis import AxisInput, build_time_axis
from xsheet.demo.corpus import read_truth
from xsheet.demo.new_people import NewPeople, NewPerson, VideoKind, video_path
from xsheet.demo.page.films import EmbeddedVideo, embed_video, frame_strip
from xsheet.pages.clips import file_names
from xsheet.pages.time_axis import TimeAxis
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.clip import Clip, Measures
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.time import Span
from xsheet.train.evaluate.scores import PhaseScore, score_phases

_ROW_NAMES: dict[VideoKind, str] = {"generated": "as requested", "swapped": "two actions swapped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """A row of frames as one picture."""

    name: str
    frames: str  # data URI


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineCard:
    """A clip or a sample: frames above a time axis."""

    name: str  # clip id
    file_name: str
    video: EmbeddedVideo
    rows: tuple[TimelineRow, ...]
    axis: TimeAxis
    text_spans: tuple[str, ...]  # training text: the base, then one block per phase
    scores: tuple[PhaseScore, ...] = ()  # of the requested phases


def clip_card(set_folder: Path, layer: LayerRun, corpus: Path, scratch: Path) -> TimelineCard | None:
    """The clip of a layer with most tracks and phases, annotated and planted; None for an empty layer."""
    liveliest = max(layer.read(), key=lambda row: (len({p.track for p in row.phases}), len(row.phases)), default=None)
    if liveliest is None:
        return None
    found = find_clip(set_folder, liveliest.clip_id, layer)
    planted = planted_annotations([found.clip], corpus).get(found.clip.clip_id)
    axis_input = AxisInput(
        duration_us=found.annotation.duration_us,
        phases=found.annotation.phases,
        other_layers=() if planted is None else [("planted", planted.phases)],
        signals=found.signals,
    )
    media = set_folder / found.clip.media_path
    return TimelineCard(
        name=found.clip.clip_id,
        file_name=file_names(set_folder, {found.clip.clip_id}).get(found.clip.clip_id, ""),
        video=embed_video(media, scratch=scratch),
        rows=(TimelineRow(name="", frames=frame_strip(media)),),
        axis=build_time_axis(axis_input),
        text_spans=_text_spans(found.annotation),
    )


def sample_cards(new_people: NewPeople, folder: Path, scratch: Path) -> Iterator[TimelineCard]:
    """Requested phases above those that a reader detects in the sample, in the control and in the drawn film.

    Args:
        new_people: the people with their evaluation.
        folder: where their videos lie.
        scratch: a folder for temporary files.
    """
    scored = {score.clip_id: score.phases for score in new_people.evaluation.samples}
    for number, person in enumerate(new_people.people, start=1):
        kinds: tuple[VideoKind, ...] = ("generated", "swapped") if person.swapped_annotation else ("generated",)
        videos = [video_path(folder, person.clip_id, kind) for kind in kinds]
        yield TimelineCard(
            name=f"Person {number}",
            file_name=videos[0].name,
            video=embed_video(*videos, scratch=scratch),
            rows=tuple(
                TimelineRow(name=_ROW_NAMES[kind], frames=frame_strip(video))
                for kind, video in zip(kinds, videos, strict=True)
            ),
            axis=build_time_axis(_person_axis_input(person)),
            text_spans=_text_spans(person.annotation),
            scores=scored.get(person.clip_id, ()),
        )


def planted_annotations(clips: Sequence[Clip], corpus: Path) -> Mapping[str, Annotation]:
    """Ground truth of clips on their own clocks, by clip id; of two heads that of the speaker."""
    truth = {row.clip_id: row for row in read_truth(corpus, tables.ANNOTATIONS)}
    spoken_shots = [shot for shot in read_truth(corpus, tables.MEASURES) if shot.sync is not None]
    return {
        clip.clip_id: clip_annotation(
            truth[shot.clip_id], Span(clip.start_us - shot.start_us, clip.end_us - shot.start_us)
        )
        for clip in clips
        for shot in spoken_shots
        if _contains(shot, clip)
    }


def score_planted_actions(set_folder: Path, layer: LayerRun, corpus: Path) -> tuple[list[PhaseScore], int]:
    """Score the planted actions of the annotated clips, and count those of arms below the picture, which it hides."""
    clips = {clip.clip_id: clip for clip in tables.iter_records(set_folder, tables.CLIPS)}
    annotations = {row.clip_id: row for row in layer.read()}
    planted = planted_annotations([clips[clip_id] for clip_id in annotations], corpus)
    scores, hidden = [], 0
    for clip_id, truth in planted.items():
        shown = [phase for phase in truth.phases if not _is_below_picture(phase, truth)]
        hidden += len(truth.phases) - len(shown)
        scores += score_phases(shown, annotations[clip_id].phases)
    return scores, hidden


def _is_below_picture(phase: Phase, truth: Annotation) -> bool:
    return phase.track in ("arm_left", "arm_right") and truth.base is not None and truth.base.framing != "upper_body"


def _person_axis_input(person: NewPerson) -> AxisInput:
    others = [("generated", person.generated_phases)]
    if person.swapped_annotation is not None:
        others += [("two swapped", person.swapped_phases)]
    others += [("drawn film", person.drawn_phases)]
    return AxisInput(duration_us=person.annotation.duration_us, phases=person.annotation.phases, other_layers=others)


def _text_spans(annotation: Annotation) -> tuple[str, ...]:
    text = compile_training_text(annotation)
    return tuple(text.text[start:end] for start, end in text.spans)


def _contains(shot: Measures, clip: Clip) -> bool:
    """Whether a clip lies in a shot; the margins of a cut shorten it."""
    return shot.source_id == clip.source_id and shot.start_us <= clip.start_us and clip.end_us <= shot.end_us
