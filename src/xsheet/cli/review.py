"""`xsheet audit` with people and other tools: sample, review, apply, export, import."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.annotate import LayerOption, show_conversion_losses
from xsheet.cli.options import LOCAL_PATH, AsJson, SetFolder

if TYPE_CHECKING:
    from types import ModuleType

app = typer.Typer()

FormatOption = Annotated[str, typer.Option("--format", "-f", help="File format: elan, label-studio, webvtt or csv.")]


@app.command()
def sample(
    folder: SetFolder,
    layer: LayerOption = "consensus",
    clips: Annotated[
        int,
        typer.Option(
            "--clips",
            "-n",
            min=1,
            help="Clips to draw; if 59 have no error, the error rate is below 5 % at 95 % confidence.",
        ),
    ] = 59,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw clips for human review: a tenth at random, the rest stratified by score decile.

    Example: xsheet audit sample my-set --clips 100
    """
    from dataclasses import asdict

    from xsheet.audit.people.sampling import stratified_sample
    from xsheet.audit.review.queue import build_queue
    from xsheet.cli.show import print_json, print_table
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    queue = build_queue(folder, find_layer(folder, layer))
    ranks = {entry.clip_id: float(place) for place, entry in enumerate(queue)}
    selected = stratified_sample(ranks, size=clips, seed=seed)
    if as_json:
        print_json([asdict(one) for one in selected])
    else:
        print_table("clips to review", ("clip", "decile, 0 = worst", "selection"), [
            (one.clip_id, one.decile, one.selection) for one in selected
        ])  # fmt: skip


@app.command()
def review(
    folder: SetFolder,
    reviewer: Annotated[str, typer.Option("--reviewer", help="Your name; every edit stores it.")],
    layer: LayerOption = "consensus",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    blind: Annotated[
        list[str] | None,
        typer.Option("--blind", help="Hide descriptions (text) or layer names (layers); may be repeated."),
    ] = None,
    repeat_share: Annotated[
        float,
        typer.Option("--repeat-share", min=0, max=0.5, help="Share of clips shown twice, to measure consistency."),
    ] = 0.07,
    overlap_share: Annotated[
        float,
        typer.Option(
            "--overlap-share", min=0, max=1, help="Share of clips that every reviewer gets, to measure agreement."
        ),
    ] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Serve the review page on localhost until Ctrl-C. Every edit is stored at once.

    Several reviewers may work on one set at the same time, each with a server of their own: a clip that one has open is
    locked for the others.

    Example: xsheet audit review my-set --reviewer ada
    """
    from typing import cast, get_args

    from xsheet.audit.review.payload import BlindField
    from xsheet.audit.review.server import serve
    from xsheet.audit.review.session import ReviewSession
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.errors import ConfigError
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    hidden = frozenset(blind or ())
    if unknown := hidden - frozenset(get_args(BlindField)):
        raise ConfigError(where="--blind", expected="text or layers", got=", ".join(sorted(unknown)), hint="choose one")
    open_set(folder)
    session = ReviewSession(
        folder, find_layer(folder, layer), reviewer=reviewer, blind=cast("frozenset[BlindField]", hidden),
        repeat_share=repeat_share, overlap_share=overlap_share,
    )  # fmt: skip

    def show_address(address: str) -> None:
        if as_json:
            print_json({"address": address})
        else:
            console().print(address, markup=False, soft_wrap=True)

    serve(session, on_ready=show_address, port=port)


@app.command("apply")
def apply_(
    folder: SetFolder,
    layer: LayerOption = "consensus",
    reviewers: Annotated[
        list[str] | None,
        typer.Option("--reviewer", help="Count only this reviewer, to settle conflicts; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write layer `human` from a layer and its reviews. Conflicts are listed and left out, never merged.

    Exit 1 when there are conflicts.

    Example: xsheet audit apply my-set
    """
    from dataclasses import asdict

    from xsheet.audit.review.apply import apply_reviews
    from xsheet.cli.show import console, print_json, print_table
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    result = apply_reviews(folder, find_layer(folder, layer), reviewers=reviewers or ())
    human = None if result.human_layer is None else str(result.human_layer)
    if as_json:
        print_json(asdict(result) | {"human": human})
    else:
        rows = [(c.clip_id, ", ".join(c.reviewers), ", ".join(c.phase_ids), c.reason) for c in result.conflicts]
        if rows:
            print_table("conflicts, left out", ("clip", "reviewers", "phases", "reason"), rows)
        console().print(
            f"{result.accepted_count} accepted, {result.changed_count} of them changed; "
            f"{len(result.rejected)} rejected, {len(result.undecided)} undecided, "
            f"{len(result.conflicts)} in conflict\n{human or 'no layer was written'}",
            markup=False,
        )
    raise typer.Exit(1 if result.conflicts else 0)


@app.command()
def verdicts(folder: SetFolder, layer: LayerOption = "consensus", as_json: AsJson = False) -> None:
    """Count what reviewers decided about the findings of each check, and suggest limits that fit their verdicts.

    --json prints every verdict with its numbers.

    Example: xsheet audit verdicts my-set
    """
    from dataclasses import asdict

    from xsheet.audit.people.check_verdicts import check_records, check_verdicts
    from xsheet.cli.show import print_json, print_table
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    found = check_verdicts(folder, find_layer(folder, layer))
    records = check_records(found)
    if as_json:
        print_json({"checks": [asdict(one) for one in records], "verdicts": [asdict(one) for one in found]})
    else:
        headers = ("check", "right", "wrong", "precision", "limit", "suggested")
        print_table("verdicts of reviewers on findings", headers, [
            (one.check, str(one.right), str(one.wrong), f"{one.precision[0]:.2f} to {one.precision[1]:.2f}",
             *("" if limit is None else f"{limit:.3g}" for limit in (one.limit, one.suggested_limit)))
            for one in records
        ])  # fmt: skip


@app.command("export")
def export_(
    folder: SetFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the exported files.", **LOCAL_PATH)],
    format_: FormatOption = "elan",
    layer: LayerOption = "consensus",
    as_json: AsJson = False,
) -> None:
    """Export a layer for another tool, and list what its format cannot hold.

    Example: xsheet audit export my-set --format elan --out eaf/
    """
    from dataclasses import asdict

    from xsheet.annotate.formats import elan, label_studio
    from xsheet.cli.show import console, print_json
    from xsheet.schemas import tables
    from xsheet.schemas.files import write_text
    from xsheet.schemas.layers import find_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    module, found = _format_module(format_), find_layer(folder, layer)
    clips = list(tables.iter_records(folder, tables.CLIPS))
    producers = {found.run.run_id: found.producer}
    if module is elan:
        # ELAN files hold the relative path from their folder to the media of the set.
        prefix = f"{_relative_path(out, folder)}/"
        exported = elan.export(found.read(), clips, made_by=producers, media_prefix=prefix)
    elif module is label_studio:
        exported = label_studio.export(found.read(), clips, made_by=producers)
    else:
        exported = module.export(found.read(), clips)
    for name, text in exported.files.items():
        write_text(out / name, text)
    if as_json:
        print_json({"files": list(exported.files), "losses": [asdict(one) for one in exported.losses]})
        return
    show_conversion_losses(exported.losses)
    console().print(f"{len(exported.files)} files in {out}", markup=False)


@app.command("import")
def import_(
    folder: SetFolder,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of one format.")],
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", help="elan, label-studio, webvtt or csv (default: by the ending of the files)."),
    ] = None,
    base_layer: Annotated[
        str | None,
        typer.Option("--base-layer", metavar="LAYER[@RUN]", help="Layer to take the clip descriptions from."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import files of another tool as layers `imported`, one per annotator, and list what was lost.

    A file about a clip has the times of the clip; a file about a source video has those of the whole recording, and its
    events go to the clips cut from it. Exit 1 when nothing could be used.

    Example: xsheet audit import my-set eaf/*.eaf --format elan --base-layer consensus
    """
    from dataclasses import asdict

    from xsheet.annotate.formats.files import read_files
    from xsheet.cli.show import console, print_json
    from xsheet.runtime.lock import write_lock
    from xsheet.schemas import tables
    from xsheet.schemas.layers import find_layer, write_layer
    from xsheet.schemas.sets import open_set

    open_set(folder)
    with write_lock(folder):  # from the first read: no other command replaces the layer or the clips meanwhile
        bases = (
            {}
            if base_layer is None
            else {row.clip_id: row.base for row in find_layer(folder, base_layer).read() if row.base}
        )
        result = _format_module(format_ or _format_of(files)).read(
            read_files(files),
            list(tables.iter_records(folder, tables.CLIPS)),
            bases=bases,
            recordings=list(tables.iter_records(folder, tables.SOURCES)),
        )
        has_content = any(row.status != "invalid" for one in result.layers for row in one.annotations)
        layers = [write_layer(folder, one.run, "imported", one.annotations) for one in result.layers]
    if as_json:
        print_json({"layers": [str(one) for one in layers], "losses": [asdict(one) for one in result.losses]})
        raise typer.Exit(0 if has_content else 1)
    show_conversion_losses(result.losses)
    for layer, one in zip(layers, result.layers, strict=True):
        console().print(f"{layer}: {len(one.annotations)} clips by {one.annotator_id!r}", markup=False)
    if not has_content:
        console().print("nothing in these files could be used", style="yellow")
    raise typer.Exit(0 if has_content else 1)


def _relative_path(out: Path, folder: Path) -> str:
    import os.path

    return Path(os.path.relpath(folder.absolute(), out.absolute())).as_posix()


FORMAT_OF_SUFFIX = {
    ".eaf": "elan", ".json": "label-studio", ".vtt": "webvtt", ".srt": "webvtt", ".csv": "csv", ".tsv": "csv"
}  # fmt: skip


def _format_of(files: list[Path]) -> str:
    """The format that the endings of the files state; an .xml beside them is a labelling config."""
    from xsheet.schemas.errors import ConfigError

    suffixes = sorted({file.suffix.lower() for file in files} - {".xml"})
    found = {FORMAT_OF_SUFFIX.get(suffix) for suffix in suffixes}
    if len(found) != 1 or None in found:
        raise ConfigError(
            where="files", expected=f"one format, with endings of {', '.join(FORMAT_OF_SUFFIX)}",
            got=", ".join(suffixes) or "none", hint="name it with --format",
        )  # fmt: skip
    return str(found.pop())


def _format_module(name: str) -> "ModuleType":
    from xsheet.annotate.formats import csv_tables, elan, label_studio, webvtt
    from xsheet.schemas.errors import ConfigError

    known = {"elan": elan, "label-studio": label_studio, "webvtt": webvtt, "csv": csv_tables}
    if name not in known:
        raise ConfigError(where="--format", expected=f"one of {', '.join(known)}", got=repr(name), hint="choose one")
    return known[name]
