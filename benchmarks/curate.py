"""Cost of curation: by step, compared with a chain of separate tools on the same film, and memory on a long film.

    python benchmarks/curate.py [cost|memory] [--clip FILE] [--models DIR] [--rounds N] [--keep DIR]

Prints Markdown tables for docs/log/. CPU is user + system of this process with all its threads, per minute of film;
medians of all rounds. The film is drawn: talk with hard cuts, 720p at 30 fps, unless --clip names one. --keep keeps the
film and every finished round, and a later run with the same versions of the tasks adds to them up to --rounds: minutes
on a busy machine need not follow each other.

The chain does the steps of LatentSync's preparation, or less: resample the film to 25 fps (x264 defaults, like a plain
ffmpeg call), run PySceneDetect, cut and encode all shots with the options of its split-video, detect and mesh faces in
every frame of the shots, encode 224-pixel crops, and read them again. It has no audio measurements, no picture quality
and no scores. Neither side runs SyncNet.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import partial
from itertools import chain as chained
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from scenedetect import AdaptiveDetector, detect

from xsheet.curate.audio.features import audio_features
from xsheet.curate.dedup.fingerprint import FingerprintAnalyser
from xsheet.curate.discover import InputFile
from xsheet.curate.faces.mediapipe_bundled import BundledFaceBackend
from xsheet.curate.faces.tracker import FaceTracker
from xsheet.curate.items import analysis_items, segment_items
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb, fit_size
from xsheet.curate.media.reader import open_media, probe
from xsheet.curate.media.thumbnails import ThumbnailCollector
from xsheet.curate.picture.quality import PictureAnalyser
from xsheet.curate.pipeline import RunContext, task_versions
from xsheet.curate.result_tables import with_analysis
from xsheet.curate.settings import CurateSettings
from xsheet.curate.shots.scores import CutScoreAnalyser
from xsheet.curate.tasks.analyse import AnalysisJob, AnalysisTask
from xsheet.curate.tasks.export import ExportJob, ExportTask
from xsheet.curate.tasks.probe import SourcePath, probe_sources
from xsheet.curate.tasks.segment import SegmentTask
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import render_film
from xsheet.runtime.executor import Execution, Item, RunResults, run_task
from xsheet.schemas.clip import Measures
from xsheet.schemas.ids import content_key
from xsheet.schemas.source import FaceTrack

KEPT_SHARE = 0.2  # share of the minutes that is kept; 0.1 to 0.25 in public corpora
FPS = 30
MEDIUM = {"preset": "medium", "crf": "18"}
RESAMPLE = {"preset": "medium", "crf": "23"}  # ffmpeg's defaults
SPLIT = {"preset": "veryfast", "crf": "22"}  # the options of PySceneDetect's split-video
CROP_PX = 224
SETTINGS = CurateSettings()
ANALYSERS = (
    "decode and convert",
    "sound: read",
    "sound: listen",
    "CutScoreAnalyser",
    "PictureAnalyser",
    "FingerprintAnalyser",
    "ThumbnailCollector",
    "FaceTracker",
)
Round = dict[str, Any]
"""CPU seconds per minute by step, and a sentence about the film."""


def write_film(path: Path, *, stories: int, size: tuple[int, int], loops: int = 1, preset: str = "medium") -> None:
    """Write a drawn film at 30 fps with audio; `loops` repeats its coded packets, which takes almost no time."""
    plans = [plan_film(index, seed=3, kind="talk") for index in range(stories)]
    drawn = (rgb for one in plans for rgb in render_film(one, height_px=384))
    # Repeating every fifth picture makes 30 fps from 25.
    shown = (widened(rgb, size) for k, rgb in enumerate(drawn) for _ in range(1 + (k % 5 == 4)))
    sound = np.tile(np.concatenate([one.sound for one in plans]), loops)
    once = path.with_name(f"once-{path.name}")
    count = encode(
        once, shown, size, FPS, {"preset": preset, "crf": "20", "bf": "0"}
    )  # packets out of order cannot be repeated
    with av.open(str(path), "w") as out, av.open(str(once)) as film:
        video = out.add_stream_from_template(film.streams.video[0])
        audio = out.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        out.mux([*audio.encode(frame), *audio.encode(None)])
        coded = [(bytes(packet), packet.is_keyframe) for packet in film.demux(video=0) if packet.size]
        for number, (data, is_key) in enumerate(coded * loops):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.duration, packet.time_base, packet.stream, packet.is_keyframe = 1, Fraction(1, FPS), video, is_key
            out.mux(packet)
    assert count == len(coded)
    once.unlink()


def encode(path: Path, rgbs: Iterable[Rgb], size: tuple[int, int], fps: int, options: dict[str, str]) -> int:
    """Write pictures with x264 as a separate tool would; return their number."""
    sent = 0
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=fps, options=options)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.thread_count = 1  # more threads only cost CPU time, on both sides
        for rgb in rgbs:
            out.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            sent += 1
        out.mux(video.encode(None))
    return sent


def widened(rgb: Rgb, size: tuple[int, int]) -> Rgb:
    """Pad a square picture to full width by repeating its edges."""
    side = (size[0] - size[1]) // 2
    square = cv2.resize(rgb, (size[1], size[1]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.copyMakeBorder(square, 0, 0, side, side, cv2.BORDER_REPLICATE), np.uint8)


def timed(spent: Round, name: str, minutes: float, work: Callable[[], Any]) -> Any:
    """Run the work and record its CPU seconds per minute."""
    start = time.process_time()
    result = work()
    spent[name] = (time.process_time() - start) / minutes
    return result


def analysis_task(models: Path | None) -> AnalysisTask:
    """The decode with its default settings."""
    return AnalysisTask(SETTINGS.analysis.decode, sync=SETTINGS.analysis.sync, models=models)


def analyse(job: Item, models: Path | None) -> None:
    """Run the decode in this process, as a worker does."""
    task = analysis_task(models)
    task.open()
    task(job)


def ours(film: Path, job: Item, models: Path | None, minutes: float, spent: Round) -> None:
    """Measure decoding, each analyser alone on decoded frames, audio, and the task that includes all."""
    with open_media(film, root=film.parent) as media:
        size = fit_size(*media.size, long_side=SETTINGS.analysis.long_side_px)
        timed(spent, "bare decode", minutes, media.count_frames)
    with open_media(film, root=film.parent) as media:
        shown = timed(spent, "decode and convert", minutes, lambda: list(media.frames(size=size)))
        assert media.video_passes == 1
        sound = timed(spent, "sound: read", minutes, media.sound)
        timed(spent, "sound: listen", minutes, lambda: audio_features(sound, media.frame_count_at_clip_rate))
    for name, look in {
        "CutScoreAnalyser": lambda: watched(CutScoreAnalyser(), shown).series(),
        "PictureAnalyser": lambda: watched(PictureAnalyser(models=models), shown).series(),
        "FingerprintAnalyser": lambda: watched(FingerprintAnalyser(), shown).fingerprint("src_benchmark", sound=sound),
        "ThumbnailCollector": lambda: watched(ThumbnailCollector(), shown),
        "FaceTracker": lambda: followed(shown, models),
        "AnalysisTask": lambda: analyse(job, models),
    }.items():
        timed(spent, name, minutes, look)


def watched(watcher: Any, shown: list[Frame]) -> Any:
    """Run an analyser over all frames."""
    for frame in shown:
        watcher.add(frame)
    return watcher


def followed(shown: list[Frame], models: Path | None) -> list[FaceTrack]:
    """Run the face tracker over all frames, including model loading."""
    with FaceTracker(SETTINGS.analysis.faces, models=models) as watcher:
        watched(watcher, shown)
        return watcher.tracks("src_benchmark")


def write(jobs: list[Item], spent: Round) -> None:
    """Export every candidate, per minute of clip: with and without body tracking."""
    minutes = kept_minutes(jobs)
    for name, body in (("ExportTask", SETTINGS.export.pose), ("ExportTask without body", None)):
        task = ExportTask(SETTINGS.export.model_copy(update={"pose": body}), SETTINGS.analysis.media)
        timed(spent, name, minutes, partial(_export, task, jobs))


def _export(task: ExportTask, jobs: list[Item]) -> None:
    for job in jobs:
        task(job)


def chain(film: Path, folder: Path, minutes: float, spent: Round) -> None:
    """Run separate tools one after the other, with files between them."""
    even = folder / "resampled.mp4"
    timed(spent, "chain: resample to 25 fps", minutes, lambda: resample(film, even))
    scenes = timed(spent, "chain: scenedetect", minutes, lambda: detect(str(even), AdaptiveDetector()))
    spans = [(a.get_seconds(), b.get_seconds()) for a, b in scenes] or [(0.0, 60 * minutes)]
    shots = timed(spent, "chain: cut and encode", minutes, lambda: cut(even, spans, folder=folder))
    crops = timed(spent, "chain: faces, crops", minutes, lambda: [crop(shot) for shot in shots])
    timed(spent, "chain: read crops", minutes, lambda: [sum(1 for _ in read(path)) for path in crops])


def resample(film: Path, out: Path) -> None:
    """The whole film at 25 fps."""
    with open_media(film, root=film.parent) as media:
        rate = media.source.rate
        assert rate is not None
        size, fps = media.size, round(rate.num / rate.den)
    encode(out, read(film, fps=fps), size, 25, RESAMPLE)


def read(path: Path, *, fps: int | None = None) -> Iterator[Rgb]:
    """All pictures of a file in full size, optionally resampled to 25 fps."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(film.decode(stream)):
            if fps is None or index == 0 or index * 25 // fps != (index - 1) * 25 // fps:
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def cut(film: Path, spans: list[tuple[float, float]], *, folder: Path) -> list[Path]:
    """Write one file per shot in one pass, which is faster than a seek for each."""
    rgbs, paths = read(film), []
    for number, (start, end) in enumerate(spans):
        paths.append(folder / f"shot{number}.mp4")
        shot = islice(rgbs, max(1, round(end * 25) - round(start * 25)))
        first = next(shot)
        encode(paths[-1], chained([first], shot), (first.shape[1], first.shape[0]), 25, SPLIT)
    return paths


def crop(shot: Path) -> Path:
    """Write the first face of every frame as a film."""
    out, backend = (
        shot.with_name(f"crop-{shot.name}"),
        BundledFaceBackend(min_score=SETTINGS.analysis.faces.min_detection_confidence),
    )
    backend.open()

    def crops() -> Iterator[Rgb]:
        for rgb in read(shot):
            found = backend.detect(rgb)
            face = backend.landmarks(rgb, found[0]) if found else None
            if face is not None:
                (x0, y0), (x1, y1) = face.points[:, :2].min(0).clip(0), face.points[:, :2].max(0)
                part = rgb[int(y0) : max(int(y0) + 2, int(y1)), int(x0) : max(int(x0) + 2, int(x1))]
                yield np.asarray(cv2.resize(part, (CROP_PX, CROP_PX)), np.uint8)

    encode(out, crops(), (CROP_PX, CROP_PX), 25, MEDIUM)
    backend.close()
    return out


def cost_table(clip: Path | None, models: Path | None, *, rounds: int, keep: Path | None) -> None:
    """Print CPU seconds per minute by step, and the ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        stored = kept_rounds(folder)
        if len(stored) < rounds:
            stored += measured_rounds(clip or folder / "film.mp4", models, folder=folder, count=rounds - len(stored))
    print_cost({name: statistics.median(one[name] for one in stored) for name in stored[0] if name != "film"})
    ratios = ", ".join(f"{one['AnalysisTask'] / one['bare decode']:.2f} and {chain_ratio(one):.2f}" for one in stored)
    print(f"\nBy round: measure by bare decode and chain by ours are {ratios}. {stored[-1]['film']}")


def kept_rounds(folder: Path) -> list[Round]:
    """The rounds of this code that a folder holds."""
    path = folder / "rounds.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [one["spent"] for one in map(json.loads, lines) if one["versions"] == task_versions()]


def measured_rounds(film: Path, models: Path | None, *, folder: Path, count: int) -> list[Round]:
    """Measure so many rounds, and keep each as it ends."""
    if not film.exists():
        write_film(film, stories=4, size=(1280, 720))
    done: list[Round] = []
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        out = Path(temporary) / "set"
        given = [InputFile(path=str(film), root=film.parent)]
        where = RunContext(set_folder=out, execution=Execution(), models=models, shows_progress=False)
        sources = probe_sources(given, limits=SETTINGS.analysis.media, **where.step_arguments("probe"))
        jobs = analysis_items(given, sources, SETTINGS.analysis, set_folder=out, models=models)
        # First in a worker, since ExportTask reads committed results; then in this process, so that models are loaded.
        measured = run_task(analysis_task(models), jobs, **where.step_arguments("analysis"))
        analyse(jobs[0], models)
        segments = segment_items(with_analysis(sources, jobs, measured), SETTINGS.analysis.segment, set_folder=out)
        task = SegmentTask(SETTINGS.analysis.segment)
        clips = clip_items(jobs, segments, run_task(task, segments, **where.step_arguments("segment")), out)
        minutes = (sources[0].duration_us or 0) / 60e6
        for _ in range(count):
            spent: Round = {}
            timed(spent, "probe", minutes, lambda: probe(film, root=film.parent))
            ours(film, jobs[0], models, minutes, spent)
            write(clips, spent)
            chain(film, Path(temporary), minutes, spent)
            kept, size = kept_minutes(clips), megabytes(out / "media")
            analysis_mb, thumbnails_mb = megabytes(out / ".commits/analysis"), megabytes(out / "thumbnails")
            spent["film"] = (
                f"{60 * minutes:.1f} s of film, {len(clips)} candidates of {60 * kept:.1f} s. Per kept minute "
                f"{size / kept:.2f} MB; per hour of source {60 * analysis_mb / minutes:.1f} MB of results before "
                f"Parquet, {60 * thumbnails_mb / minutes:.1f} MB of thumbnails."
            )
            done.append(spent)
            with (folder / "rounds.jsonl").open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"versions": task_versions(), "spent": spent}) + "\n")
    return done


def clip_items(jobs: list[Item], segments: list[Item], segmented: RunResults, out: Path) -> list[Item]:
    """Every candidate, as if the filter kept all."""
    path = jobs[0].payload.source_path
    return [
        Item(
            key=content_key("clip", clip.clip_id),
            name=clip.clip_id,
            payload=ExportJob(
                source_path=path,
                set_folder=out.absolute(),
                candidate=clip,
                source_key=segment.payload.analysis_key,
            ),
        )
        for segment in segments
        for clip in segmented.rows_of(segment.key, Measures)
    ]


def kept_minutes(jobs: list[Item]) -> float:
    """Total duration of all clips."""
    return float(sum((job.payload.candidate.end_us - job.payload.candidate.start_us) / 60e6 for job in jobs))


def megabytes(folder: Path) -> float:
    """Total size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def chain_ratio(cost: Round, name: str = "ExportTask") -> float:
    """The chain by ours, with a fifth of the minutes kept."""
    chained_s = sum(seconds for step, seconds in cost.items() if step.startswith("chain"))
    return float(chained_s / (cost["probe"] + cost["AnalysisTask"] + KEPT_SHARE * cost[name]))


def print_cost(cost: Round) -> None:
    """Print the table and the ratios."""
    print("| step | CPU s per minute | with decode |\n|---|---|---|")
    for name, seconds in cost.items():
        together = f"{seconds + cost['decode and convert']:.2f}" if name in ANALYSERS[1:] else ""
        print(f"| {name} | {seconds:.2f} | {together} |")
    parts = sum(cost[name] for name in ANALYSERS)
    both = sum(seconds for name, seconds in cost.items() if name.startswith("chain"))
    print(f"| **decode + analysers' own** | {parts:.2f} | |\n| **chain** | {both:.2f} | |")
    print(f"\nThe measure is {cost['AnalysisTask'] / cost['bare decode']:.2f} × a bare decode.")
    print(f"AnalysisTask is {cost['AnalysisTask'] / parts:.2f} × decode + the analysers alone.")
    for name in ("ExportTask", "ExportTask without body"):
        mine = cost["probe"] + cost["AnalysisTask"] + KEPT_SHARE * cost[name]
        print(
            f"With {name} on {KEPT_SHARE:.0%}: {mine:.2f} s per minute; the chain takes "
            f"{chain_ratio(cost, name):.2f} × as much."
        )
    # The whole step of the chain is subtracted, including its decode and encode, so the ratio favours the chain.
    apart = mine - cost["FaceTracker"] - cost["sound: listen"]
    rest = both - cost["chain: faces, crops"]
    print(f"Without models (faces, voice, body): {apart:.2f} s against {rest:.2f} s, {rest / apart:.2f} × as much.")


def memory_table(models: Path | None) -> None:
    """Print peak memory of a process that analyses one and four minutes of 1080p."""
    print("| film, 1080p30 | peak RSS, MB | CPU s per minute |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for loops in (3, 12):
            film = Path(folder) / f"film{loops}.mp4"
            write_film(film, stories=4, size=(1920, 1080), loops=loops, preset="ultrafast")
            # A separate process, since peak memory never falls.
            command = [sys.executable, __file__, "measure", "--clip", str(film)]
            ran = subprocess.run([*command, *(["--models", str(models)] if models else [])], check=True,
                                  capture_output=True, text=True)  # fmt: skip
            print(ran.stdout, end="", flush=True)


def measure_once(film: Path, models: Path | None) -> None:
    """Analyse one film in this process and print a row about its memory."""
    source = probe(film, root=film.parent)
    with tempfile.TemporaryDirectory() as out:
        job = AnalysisJob(source_path=SourcePath(path=str(film), root=film.parent), source=source, set_folder=Path(out))
        assert source.sha256 is not None
        analyse(Item(key=source.sha256, name=film.name, payload=job), models)
    minutes = (source.duration_us or 0) / 60e6
    # Not ru_maxrss: on Linux a child inherits the peak of its parent.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    print(f"| {minutes:.1f} min | {peak_kb / 1024:.0f} | {time.process_time() / minutes:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Cost of curation.")
    parser.add_argument("part", nargs="?", choices=("cost", "memory", "measure"))
    parser.add_argument("--clip", type=Path, help="video to use instead of the drawn film")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder of the film and the finished rounds")
    options = parser.parse_args()
    if options.part == "measure":
        measure_once(options.clip.absolute(), options.models)
    if options.part in (None, "cost"):
        clip = options.clip and options.clip.absolute()
        cost_table(clip, options.models, rounds=options.rounds, keep=options.keep and options.keep.absolute())
    if options.part in (None, "memory"):
        print()
        memory_table(options.models)
