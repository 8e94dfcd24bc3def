"""`xsheet curate`: sweep, report, inspect, split, selftest-sync, estimate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.curate.inputs import preset_settings
from xsheet.cli.curate.show import (
    candidate_json,
    show_estimate,
    show_funnel,
)
from xsheet.cli.options import (
    LOCAL_PATH,
    AsJson,
    Config,
    CuratePreset,
    Jobs,
    Models,
    Set,
    SetFolder,
    cpu_count,
)

if TYPE_CHECKING:
    pass

app = typer.Typer()


@app.command()
def sweep(
    folder: SetFolder,
    over: Annotated[
        str, typer.Option("--over", metavar="LIMIT=FIRST:LAST:STEP", help="Limit to vary, and its values.")
    ],
    preset: CuratePreset = "keep",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Print the hours kept for each value of one limit. The set does not change.

    Example: xsheet curate sweep my-set --over sync.lip_audio.min_confidence=2:4:0.5
    """
    settings = preset_settings(preset, config, set_)
    from xsheet.cli.show import print_json, print_table
    from xsheet.curate.filter.sweep import sweep_set
    from xsheet.schemas.sets import open_set

    open_set(folder)
    rows = sweep_set(folder, settings.limits, limit_range=over)
    heads = ("value", "clips kept", "hours kept", "change in hours")
    table = [(row.value, row.kept.clips, row.kept.hours, row.change_us / 3.6e9) for row in rows]
    if as_json:
        print_json([dict(zip(("value", "clips", "hours", "change_hours"), row, strict=True)) for row in table])
    else:
        print_table(over, heads, table)


@app.command()
def report(
    folder: SetFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file to write (default: SET/report.html).", **LOCAL_PATH)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the funnel, and write a self-contained HTML page with histograms and contact sheets.

    Example: xsheet curate report my-set
    """
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json
    from xsheet.curate.report.page import write_report
    from xsheet.schemas.sets import open_set

    open_set(folder)
    page = out or folder / "report.html"
    funnel = write_report(folder, page)
    if as_json:
        print_json(asdict(funnel) | {"page": str(page)})
        return
    show_funnel(funnel)
    console().print(f"page: {page}", markup=False)


@app.command()
def inspect(
    folder: SetFolder,
    clip: Annotated[
        str,
        typer.Argument(
            metavar="CLIP", help="Clip id, its first characters, or the file name of a source with one candidate."
        ),
    ],
    video: Annotated[
        Path | None,
        typer.Option("--video", help="Also write the clip as MP4 with boxes, mesh, track ids, curves and phases."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", "-l", metavar="LAYER[@RUN]", help="Layer whose phases the video shows (default: the last)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print every measurement of one candidate with its limit.

    Examples: xsheet curate inspect my-set clip_3f2a
              xsheet curate inspect my-set talk.mp4 --video talk-inspected.mp4
    """
    from xsheet.cli.show import console, print_json
    from xsheet.curate.report.inspect import inspect_candidate
    from xsheet.curate.report.terminal import render_candidate
    from xsheet.schemas.sets import open_set

    open_set(folder)
    details = inspect_candidate(folder, clip)
    if as_json:
        print_json(candidate_json(details))
    else:
        console().print(render_candidate(details))
    if video is not None:
        from xsheet.curate.report.inspection_video import write_inspection_video
        from xsheet.schemas.layers import find_layer

        shown = None if layer is None else find_layer(folder, layer)
        write_inspection_video(folder, details, video, layer=shown)


@app.command()
def split(
    folder: SetFolder,
    val: Annotated[float, typer.Option("--val", min=0, max=1, help="Share of the validation split.")] = 0.05,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share of the test split.")] = 0.05,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the assignment.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Split the clips so that no person, source or near duplicate is in two splits.

    Example: xsheet curate split my-set --val 0.05 --test 0.05
    """
    from xsheet.cli.show import console, print_json, print_table
    from xsheet.curate.dedup.split import SplitSettings, split_set
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.settings import load_settings

    open_set(folder)
    summary = split_set(folder, load_settings(SplitSettings, overrides=[f"val={val}", f"test={test}", f"seed={seed}"]))
    rows = [(name, tally.clips, tally.hours, summary.cluster_counts[name]) for name, tally in summary.totals.items()]
    if as_json:
        named = [dict(zip(("split", "clips", "hours", "clusters"), row, strict=True)) for row in rows]
        print_json(
            {
                "splits": named,
                "largest_cluster_share": summary.largest_cluster_share,
                "identity_by": dict(summary.clips_by_identity_method),
            }
        )
        return
    print_table("split", ("", "clips", "hours", "clusters"), rows)
    methods = ", ".join(f"{name} ({count} clips)" for name, count in summary.clips_by_identity_method.items())
    console().print(
        f"people distinguished by {methods}; the largest cluster holds {summary.largest_cluster_share:.0%}",
        markup=False,
    )


@app.command("selftest-sync")
def selftest_sync_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A video of one talking person.")],
    preset: CuratePreset = "keep",
    config: Config = None,
    set_: Set = None,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Shift the audio of a video by known amounts and check that the scorer finds them; exit 1 when it does not.

    It tests the scorer that analysis.sync chooses.

    Examples: xsheet curate selftest-sync talking.mp4
              xsheet curate selftest-sync talking.mp4 --set analysis.sync.name=syncnet --models models
    """
    from xsheet.cli.show import console, print_json, print_table
    from xsheet.curate.sync.selftest import load_speaker, selftest_sync

    settings = preset_settings(preset, config, set_).analysis
    speaker = load_speaker(
        file, root=file.absolute().parent, models=models, long_side_px=settings.long_side_px, sync=settings.sync
    )
    tests = selftest_sync(speaker, sync=settings.sync, audio_settings=settings.sound)
    hits = sum(row.is_found for row in tests)
    rows = [
        (r.applied_shift_frames, r.score.offset_frames, r.score.confidence, r.score.margin, r.is_found) for r in tests
    ]
    heads = ("applied", "measured", "confidence", "margin", "found")
    if as_json:
        print_json([dict(zip(heads, row, strict=True)) | {"scorer": tests[0].score.scorer} for row in rows])
    else:
        title = f"{file.name}, {tests[0].score.scorer}: frames of 40 ms, positive = audio late"
        print_table(title, heads, rows)
        console().print(f"{hits} of {len(tests)} shifts found within a frame")
    raise typer.Exit(0 if hits == len(tests) else 1)


@app.command()
def estimate(
    hours: Annotated[float, typer.Option("--hours", min=0, help="Hours of source video.")] = 1.0,
    preset: CuratePreset = "keep",
    config: Config = None,
    set_: Set = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Print the steps, the limits, and an estimate of time and disk.

    Example: xsheet curate estimate --hours 100 --preset train --jobs 32
    """
    show_estimate(preset_settings(preset, config, set_), hours, jobs or cpu_count(), inputs=None, as_json=as_json)
