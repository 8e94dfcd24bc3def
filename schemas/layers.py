"""Layers: the annotations of one run each. A layer never overwrites another.

    SET/annotations/part-<layer>-<run id>-00000.parquet    one or more files per layer; readers see one table
    SET/runs/part-<run id>-00000.parquet                   provenance of a run
    SET/findings/part-<run id>-00000.parquet               findings of an audit run

Find a layer by its name, and by run or model if several wrote it: `consensus`, `consensus@motion`,
`consensus@run_3fa2`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Finding
from xsheet.schemas.columns import Record
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.run import Run
from xsheet.schemas.tables import (
    ANNOTATIONS,
    FINDINGS,
    RUNS,
    Table,
    iter_file_records,
    iter_records,
    read_footer,
    write_file,
)

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class LayerRun:
    """A layer of one run in a set."""

    layer: vocab.Layer
    run: Run
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.layer}@{self.run.run_id}"

    @property
    def producer(self) -> str:
        """Id of the model, or the kind of the run if it used no model."""
        return self.run.model.id if self.run.model is not None else self.run.kind

    def count(self) -> int:
        """Number of annotations, from the footers of the files."""
        return sum(read_footer(file).num_rows for file in self.files)

    def read(self) -> Iterator[Annotation]:
        """The annotations in stored order; at most a thousand are in memory."""
        for file in self.files:
            yield from iter_file_records(file, ANNOTATIONS)


def write_layer(set_folder: Path, run: Run, layer: vocab.Layer, annotations: Iterable[Annotation]) -> LayerRun:
    """Write the annotations of one layer of one run, in the order given, and the run; the same run is written anew.

    Raises:
        OSError: the set cannot be written; no partial file remains.
        ValueError: an annotation of another layer or run.
    """
    checked = (_check_member(one, layer, run) for one in annotations)
    _write(set_folder, RUNS, run.run_id, [run])
    files = _write(set_folder, ANNOTATIONS, f"{layer}-{run.run_id}", checked)
    return LayerRun(layer=layer, run=run, files=files)


def write_findings(set_folder: Path, run: Run, findings: Iterable[Finding]) -> None:
    """Write the findings of one audit run, in the order given, and the run."""
    _write(set_folder, RUNS, run.run_id, [run])
    _write(set_folder, FINDINGS, run.run_id, findings)


def list_layers(set_folder: Path) -> list[LayerRun]:
    """All layers of a set, by layer in the order of the contract, then by run."""
    runs = {run.run_id: run for run in iter_records(set_folder, RUNS)}
    found: dict[tuple[str, str], list[Path]] = {}
    for path in sorted((set_folder / ANNOTATIONS.name).glob("part-*-*-*.parquet")):
        _, layer, rest = path.stem.split("-", 2)
        run_id = rest.rpartition("-")[0]
        found.setdefault((layer, run_id), []).append(path)
    return [
        LayerRun(layer=layer, run=runs[run_id], files=tuple(files))
        for layer in vocab.LAYERS
        for (name, run_id), files in sorted(found.items())
        if name == layer and run_id in runs
    ]


def find_layer(set_folder: Path, spec: str) -> LayerRun:
    """The layer that `LAYER`, `LAYER@MODEL` or `LAYER@RUN` names; a prefix of the model's name or run id suffices.

    If a layer was reviewed several times, the newest human layer is found.

    Raises:
        ConfigError: no such layer, or several; the error lists the layers of the set.
    """
    name, _, producer = spec.partition("@")
    known = list_layers(set_folder)
    found = newest_of([one for one in known if one.layer == name and _matches_producer(one, producer)])
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{one} ({one.producer})" for one in (found or known)) or "none"
    raise ConfigError(
        where=f"layer {spec!r} of {set_folder}",
        expected="one layer" if found else f"one of {listed}",
        got=f"{len(found)}: {listed}" if found else "no layer of that name",
        hint="write LAYER@RUN" if found else "run `xsheet annotate run` first" if not known else "choose one",
    )


def newest_of(layers: Sequence[LayerRun]) -> list[LayerRun]:
    """Layers that no other of these layers is derived from; a review names the previous review as a parent."""
    parents = {parent for one in layers for parent in one.run.parent_run_ids}
    return [one for one in layers if one.run.run_id not in parents]


def _matches_producer(one: LayerRun, prefix: str) -> bool:
    return one.run.run_id.startswith(prefix) or one.producer.startswith(prefix) or f".{prefix}" in one.producer


def _check_member(one: Annotation, layer: vocab.Layer, run: Run) -> Annotation:
    if one.layer != layer or one.run_id != run.run_id:
        raise ValueError(f"expected {layer}@{run.run_id}, got {one.layer}@{one.run_id}")
    return one


def _write(set_folder: Path, table: Table[R], name: str, rows: Iterable[R]) -> tuple[Path, ...]:
    folder, feed = set_folder / table.name, iter(rows)
    files: list[Path] = []
    for first in feed:
        files.append(folder / f"part-{name}-{len(files):05d}.parquet")
        write_file(files[-1], table, chain([first], islice(feed, table.rows_per_part - 1)))
    if not files:
        files.append(folder / f"part-{name}-00000.parquet")
        write_file(files[-1], table, ())
    for stale in set(folder.glob(f"part-{name}-*.parquet")) - set(files):
        stale.unlink()
    return tuple(files)
