"""`xsheet curate import`: a published corpus as a manifest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import AsJson, Columns, DryRun

if TYPE_CHECKING:
    from xsheet.curate.corpora.importer import CorpusImport

MAX_PROBLEMS_SHOWN = 10


def import_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="hdtf, celebv-hq, talkvid, voxceleb2, speakervid-5m, talkverse, vip-200k, openhumanvid, video-folder.",
        ),
    ],
    meta: Annotated[Path, typer.Argument(metavar="META", help="Metadata of the corpus as published: file or folder.")],
    out: Annotated[Path, typer.Option("--out", help="Manifest to write: .parquet, .csv or .jsonl.")],
    videos: Annotated[
        Path | None, typer.Option("--videos", metavar="DIR", help="Folder of the videos (default: that of META).")
    ] = None,
    columns: Columns = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write a manifest of the clips of a corpus whose videos are there, and a table of those that are not.

    Nothing is downloaded. Clips that are missing are rows of OUT.missing.csv with a reason.

    Example: xsheet curate import talkvid talkvid.json --videos videos/ --out talkvid.parquet
    """
    from xsheet.curate.corpora.importer import check_manifest_path, import_corpus, write_import
    from xsheet.curate.corpora.kinds import parse_kind
    from xsheet.curate.manifest import parse_column_map

    parsed = parse_kind(kind)
    check_manifest_path(out)
    folder = videos or (meta if meta.is_dir() else meta.parent)
    found = import_corpus(parsed, meta, folder, parse_column_map(columns or ""))
    missing = None if dry_run else write_import(found, out)
    _show_import(found, None if dry_run else out, missing, as_json=as_json)


def _show_import(found: "CorpusImport", out: Path | None, missing: Path | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table

    counts = found.counts
    if as_json:
        files = {"manifest": out and str(out), "missing": missing and str(missing)}
        print_json({"kind": found.kind} | files | {"counts": counts, "rows": [asdict(one) for one in found.problems]})
        return
    rows = ((one.where, one.name, one.reason, one.message) for one in found.problems[:MAX_PROBLEMS_SHOWN])
    if found.problems:
        print_table("clips that are not in the manifest", ("where", "clip", "reason", "message"), rows)
    if len(found.problems) > MAX_PROBLEMS_SHOWN:
        console().print(f"... and {len(found.problems) - MAX_PROBLEMS_SHOWN} more")
    print_table(found.kind, ("", "clips"), [(name.replace("_", " "), count) for name, count in counts.items()])
    if out is None:
        console().print("nothing was written")
    else:
        console().print(
            f"missing clips: {missing}\nnext: xsheet curate run {out} --out my-set", markup=False, soft_wrap=True
        )
