"""Sources of a script: a YAML or JSON file, a file of another tool, or a clip of a set.

    read_script(Path("nod.yaml"))                          base text and timed actions, see script.py
    read_script(Path("nod.eaf"), caption="A woman ...")    ELAN; or .csv, .tsv and .vtt, as `xsheet audit import` reads
    read_script(Path("my-set"), clip="clip_3f2a")          what a layer states about a clip

Times are not changed. Fields of a file that a script cannot hold are logged.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from xsheet.annotate.formats import csv_tables, elan, webvtt
from xsheet.annotate.formats.files import read_files
from xsheet.annotate.formats.imported import ImportedLayer, ImportResult
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import find_layer
from xsheet.schemas.settings import load_settings
from xsheet.schemas.time import CLIP_RATE, US_PER_S, frame_start_us
from xsheet.train.sample.script import ActionScript, ScriptPhase

log = logging.getLogger(__name__)

SETTINGS_SUFFIXES = (".yaml", ".yml", ".json")
TABLE_SUFFIXES = (".csv", ".tsv")
SUFFIXES = (*SETTINGS_SUFFIXES, ".eaf", *TABLE_SUFFIXES, ".vtt")
DEFAULT_LAYER = "accepted"
MAX_LISTED = 8
_MAX_FRAMES = 3600 * CLIP_RATE.num  # a file does not state a duration; an hour cuts none of its phases


def read_script(
    source: Path, *, clip: str | None = None, layer: str | None = None, caption: str | None = None
) -> ActionScript:
    """Read a script.

    Args:
        source: a file, or the folder of a set.
        clip: clip of the set, or of a table with several.
        layer: layer of the set (default: accepted), or annotator of a file with several.
        caption: base text; replaces that of the source, and is needed where it has none.

    Raises:
        ConfigError: a source that holds no script, several of them, or no base text.
        ContractError: a file that cannot be read.
    """
    if source.is_dir():
        script = _script_of(_layer_annotation(source, clip, layer or DEFAULT_LAYER), caption, where=str(source))
    elif source.suffix.lower() in SETTINGS_SUFFIXES:
        _refuse_selection(source, clip, layer)
        overrides = () if caption is None else (f"base={_quoted(caption)}",)
        script = load_settings(ActionScript, config=source, overrides=overrides)
    elif source.suffix.lower() in SUFFIXES:
        script = _script_of(_imported_annotation(source, clip, layer), caption, where=str(source))
    else:
        raise ConfigError(
            where=str(source), expected=f"a set folder, or a file with the ending {', '.join(SUFFIXES)}",
            got=f"{source.suffix!r}" if source.exists() else "no such file", hint="choose another script",
        )  # fmt: skip
    return script


def _script_of(annotation: Annotation, caption: str | None, *, where: str) -> ActionScript:
    base = annotation.base
    text = caption or (base.text if base is not None else None)
    if text is None:
        raise ConfigError(
            where=where, expected="a base caption, which describes the whole clip", got="none", hint="pass --caption"
        )
    phases = [
        ScriptPhase(
            start_s=phase.start_us / US_PER_S,
            end_s=phase.end_us / US_PER_S,
            text=phase.text,
            track=phase.track,
            action=phase.action,
            laterality=phase.laterality,
        )
        for phase in annotation.phases
    ]
    try:
        speaking = base.speaking if base is not None else "speaking"
        return ActionScript(base=text, speaking=speaking, phases=tuple(phases))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            where=f"{where}: {'.'.join(map(str, first['loc']))}", expected=first["msg"], got=repr(first["input"])[:200],
            hint="shorten it, or pass a base caption with --caption",
        ) from error  # fmt: skip


def _layer_annotation(set_folder: Path, clip: str | None, layer: str) -> Annotation:
    found = [one for one in find_layer(set_folder, layer).read() if one.status == "ok" and one.base is not None]
    named = [one for one in found if clip is not None and one.clip_id.startswith(clip)]
    exact = [one for one in named if one.clip_id == clip] or named
    if len(exact) == 1:
        return exact[0]
    raise ConfigError(
        where=f"layer {layer!r} of {set_folder}", expected="one annotated clip",
        got=f"{len(exact)}: {_listed([one.clip_id for one in exact or found])}" if clip else "none chosen",
        hint=f"choose it with --clip, e.g. --clip {found[0].clip_id}" if found else "annotate the clips first",
    )  # fmt: skip


def _imported_annotation(file: Path, clip: str | None, annotator: str | None) -> Annotation:
    texts = read_files([file])
    name = _clip_name(texts, file, clip)
    imported = _read(file, texts, name)
    for loss in imported.losses:
        if loss.field != "clip_id":  # rows of other clips
            log.warning("%s: %s: %s (%d, e.g. %s)", file, loss.field, loss.reason, loss.count, loss.example)
    layers = [one for one in imported.layers if annotator is None or one.annotator_id == annotator]
    if len(layers) == 1 and len(layers[0].annotations) == 1:
        return layers[0].annotations[0]
    _refuse_overlaps(file, layers)
    raise ConfigError(
        where=str(file), expected="one annotator" if len(layers) > 1 else "timed actions of one clip",
        got=_listed([one.annotator_id or "(without a name)" for one in imported.layers]) or "none",
        hint="choose the annotator with --layer" if len(imported.layers) > 1 else "choose another script",
    )  # fmt: skip


def _read(file: Path, texts: Mapping[str, str], name: str) -> ImportResult:
    clip = Clip(
        clip_id="script", source_id="script", start_us=0, end_us=frame_start_us(_MAX_FRAMES, CLIP_RATE),
        media_path=f"{Path(name).stem or 'script'}.mp4", media_sha256="0" * 64, frames=_MAX_FRAMES, samples=0,
        width=1, height=1,
    )  # fmt: skip
    if file.suffix.lower() == ".eaf":
        return elan.read(texts, [clip])
    if file.suffix.lower() == ".vtt":
        return webvtt.read(texts, [clip])
    return csv_tables.read(texts, [clip])


def _clip_name(texts: Mapping[str, str], file: Path, clip: str | None) -> str:
    """Name by which the reader finds the clip: that of the file where all of it is about one clip."""
    if file.suffix.lower() not in TABLE_SUFFIXES:
        _refuse_selection(file, clip, None)
        return file.name
    names = csv_tables.clip_names(texts)
    if clip is None and len(names) <= 1:
        return file.name
    if clip not in names:
        raise ConfigError(
            where=str(file), expected="one clip", got=f"{len(names)}: {_listed(names)}", hint="choose it with --clip"
        )
    return clip


def _refuse_overlaps(file: Path, layers: list[ImportedLayer]) -> None:
    """ConfigError if the importer had to part overlapping actions of one annotator."""
    names = {one.annotator_id for one in layers}
    if any(f"{name}#2" in names for name in names):
        raise ConfigError(
            where=str(file), expected="actions of one track that do not overlap", got="actions that overlap",
            hint="move them, or put them on different tracks",
        )  # fmt: skip


def _refuse_selection(source: Path, clip: str | None, layer: str | None) -> None:
    for option, value in (("--clip", clip), ("--layer", layer)):
        if value is not None:
            raise ConfigError(
                where=option, expected="a set or a table with several clips as --script", got=str(source),
                hint=f"omit {option}",
            )  # fmt: skip


def _quoted(caption: str) -> str:
    """Text as a YAML scalar of one line."""
    return "'" + " ".join(caption.split()).replace("'", "''") + "'"


def _listed(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(names[:MAX_LISTED])
    return f"{shown}, ..." if len(names) > MAX_LISTED else shown
