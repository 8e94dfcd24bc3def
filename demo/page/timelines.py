"""Sheets over time: what was said of a clip beside what was planted, what was asked of a sample beside what came."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xsheet.annotate.lookup import find_clip
from xsheet.annotate.text.training_text import compile_training_text
from xsheet.audit.report.axis import AxisInput, TimeAxis, build_time_axis
from xsheet.demo.corpus import read_truth
from xsheet.demo.held_out_samples import HeldOutSample, HeldOutSamples, video_path
from xsheet.demo.page.films import EmbeddedVideo, embed_video, frame_strip
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Measures
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.time import Span
from xsheet.train.data.texts import clip_annotation
from xsheet.train.evaluate.scores import PhaseScore, score_phases


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """A row of frames."""

    name: str
    frames: str  # source of a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineCard:
    """A clip or a sample: its pictures above the axis of time."""

    name: str
    video: EmbeddedVideo
    rows: tuple[TimelineRow, ...]
    axis: TimeAxis
    text_spans: tuple[str, ...]  # the text that a model is given: the base, then block after block
    scores: tuple[PhaseScore, ...] = ()  # of the phases asked for


def clip_card(set_folder: Path, layer: LayerRun, corpus: Path, scratch: Path) -> TimelineCard | None:
    """The liveliest clip of a layer, as annotated and as planted; None where the layer is empty."""
    liveliest = max(
        layer.read(), key=lambda said: (len({p.track for p in said.phases}), len(said.phases)), default=None
    )
    if liveliest is None:
        return None
    found = find_clip(set_folder, liveliest.clip_id, layer)
    planted = planted_annotations([found.clip], corpus).get(found.clip.clip_id)
    drawn = AxisInput(
        duration_us=found.annotation.duration_us,
        phases=found.annotation.phases,
        other_layers=() if planted is None else [("planted", planted.phases)],
        signals=found.signals,
    )
    media = set_folder / found.clip.media_path
    return TimelineCard(
        name=found.clip.clip_id,
        video=embed_video(media, scratch=scratch),
        rows=(TimelineRow(name="", frames=frame_strip(media)),),
        axis=build_time_axis(drawn),
        text_spans=_text_spans(found.annotation),
    )


def sample_cards(unseen: HeldOutSamples, folder: Path, scratch: Path) -> Iterator[TimelineCard]:
    """What was asked for over what a reader finds in the sample and in the real clip."""
    scored = {score.clip_id: score.phases for score in unseen.evaluation.samples}
    for sample in unseen.samples:
        real, drawn = (video_path(folder, sample.clip_id, generated=is_drawn) for is_drawn in (False, True))
        yield TimelineCard(
            name=sample.clip_id,
            video=embed_video(real, drawn, scratch=scratch),
            rows=(
                TimelineRow(name="real", frames=frame_strip(real)),
                TimelineRow(name="drawn", frames=frame_strip(drawn)),
            ),
            axis=build_time_axis(_sample_axis_drawing(sample)),
            text_spans=_text_spans(sample.annotation),
            scores=scored.get(sample.clip_id, ()),
        )


def planted_annotations(clips: Sequence[Clip], corpus: Path) -> Mapping[str, Annotation]:
    """The truth about clips on their own clocks, by clip; of two heads that of the one who is heard."""
    said = {row.clip_id: row for row in read_truth(corpus, tables.ANNOTATIONS)}
    heard = [take for take in read_truth(corpus, tables.MEASURES) if take.sync is not None]
    return {
        clip.clip_id: clip_annotation(
            said[take.clip_id], Span(clip.start_us - take.start_us, clip.end_us - take.start_us)
        )
        for clip in clips
        for take in heard
        if _contains(take, clip)
    }


def score_planted_actions(set_folder: Path, layer: LayerRun, corpus: Path) -> list[PhaseScore]:
    """Every planted action of the annotated clips, and what the annotation has in its place."""
    clips = {clip.clip_id: clip for clip in tables.iter_records(set_folder, tables.CLIPS)}
    said = {row.clip_id: row for row in layer.read()}
    planted = planted_annotations([clips[clip_id] for clip_id in said], corpus)
    return [score for clip_id, truth in planted.items() for score in score_phases(truth.phases, said[clip_id].phases)]


def _sample_axis_drawing(sample: HeldOutSample) -> AxisInput:
    others = [("drawn", sample.generated_phases), ("real", sample.real_phases)]
    return AxisInput(duration_us=sample.annotation.duration_us, phases=sample.annotation.phases, other_layers=others)


def _text_spans(said: Annotation) -> tuple[str, ...]:
    text = compile_training_text(said)
    return tuple(text.text[start:end] for start, end in text.spans)


def _contains(take: Measures, clip: Clip) -> bool:
    """A clip may begin later than its take and end earlier: margins of a cut."""
    return take.source_id == clip.source_id and take.start_us <= clip.start_us and clip.end_us <= take.end_us
