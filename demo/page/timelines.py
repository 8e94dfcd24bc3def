"""Sheets over time: what was said of a clip beside what was planted, what was asked of a sample beside what came."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xsheet.annotate.lookup import clip_with
from xsheet.annotate.text.training_text import compile_blocks
from xsheet.audit.report.axis import Axis, Drawn, axis
from xsheet.demo.corpus import read_truth
from xsheet.demo.held_out_samples import Sample, Unseen, film_path
from xsheet.demo.page.films import Video, frames, video
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Measures
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.time import Span
from xsheet.train.data.texts import within
from xsheet.train.evaluate.scores import PhaseScore, score_phases


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of frames."""

    name: str
    frames: str  # source of a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A clip or a sample: its pictures above the axis of time."""

    name: str
    video: Video
    rows: tuple[Row, ...]
    axis: Axis
    told: tuple[str, ...]  # the text that a model is given: the base, then block after block
    scores: tuple[PhaseScore, ...] = ()  # of the phases asked for


def clip_card(set_folder: Path, layer: LayerRun, corpus: Path, scratch: Path) -> Card | None:
    """The liveliest clip of a layer, as annotated and as planted; None where the layer is empty."""
    liveliest = max(
        layer.read(), key=lambda said: (len({p.track for p in said.phases}), len(said.phases)), default=None
    )
    if liveliest is None:
        return None
    found = clip_with(set_folder, liveliest.clip_id, layer)
    planted = planted_in([found.clip], corpus).get(found.clip.clip_id)
    drawn = Drawn(
        duration_us=found.annotation.duration_us,
        phases=found.annotation.phases,
        others=() if planted is None else [("planted", planted.phases)],
        signals=found.signals,
    )
    media = set_folder / found.clip.media_path
    return Card(
        name=found.clip.clip_id,
        video=video(media, scratch=scratch),
        rows=(Row(name="", frames=frames(media)),),
        axis=axis(drawn),
        told=_told(found.annotation),
    )


def sample_cards(unseen: Unseen, folder: Path, scratch: Path) -> Iterator[Card]:
    """What was asked for over what a reader finds in the sample and in the real clip."""
    scored = {score.clip_id: score.phases for score in unseen.evaluation.samples}
    for sample in unseen.films:
        real, drawn = (film_path(folder, sample.clip_id, drawn=is_drawn) for is_drawn in (False, True))
        yield Card(
            name=sample.clip_id,
            video=video(real, drawn, scratch=scratch),
            rows=(Row(name="real", frames=frames(real)), Row(name="drawn", frames=frames(drawn))),
            axis=axis(_asked(sample)),
            told=_told(sample.said),
            scores=scored.get(sample.clip_id, ()),
        )


def planted_in(clips: Sequence[Clip], corpus: Path) -> Mapping[str, Annotation]:
    """The truth about clips on their own clocks, by clip; of two heads that of the one who is heard."""
    said = {row.clip_id: row for row in read_truth(corpus, tables.ANNOTATIONS)}
    heard = [take for take in read_truth(corpus, tables.MEASURES) if take.sync is not None]
    return {
        clip.clip_id: within(said[take.clip_id], Span(clip.start_us - take.start_us, clip.end_us - take.start_us))
        for clip in clips
        for take in heard
        if _holds(take, clip)
    }


def found_of_planted(set_folder: Path, layer: LayerRun, corpus: Path) -> list[PhaseScore]:
    """Every planted action of the annotated clips, and what the annotation has in its place."""
    clips = {clip.clip_id: clip for clip in tables.iterate(set_folder, tables.CLIPS)}
    said = {row.clip_id: row for row in layer.read()}
    planted = planted_in([clips[clip_id] for clip_id in said], corpus)
    return [score for clip_id, truth in planted.items() for score in score_phases(truth.phases, said[clip_id].phases)]


def _asked(sample: Sample) -> Drawn:
    others = [("drawn", sample.drawn), ("real", sample.real)]
    return Drawn(duration_us=sample.said.duration_us, phases=sample.said.phases, others=others)


def _told(said: Annotation) -> tuple[str, ...]:
    text = compile_blocks(said)
    return tuple(text.text[start:end] for start, end in text.spans)


def _holds(take: Measures, clip: Clip) -> bool:
    """A clip may begin later than its take and end earlier: margins of a cut."""
    return take.source_id == clip.source_id and take.start_us <= clip.start_us and clip.end_us <= take.end_us
