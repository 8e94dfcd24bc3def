"""The dataset card of an `hf` export: licences, counts and figures.

Rules (Hugging Face hub, "Dataset cards"): README.md begins with a YAML block; `license` is an identifier of the hub's
list, or `other` with `license_name`; values of the manifest are untrusted, so they are quoted or escaped.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

import yaml

from xsheet.export.forms.plain import by_split
from xsheet.export.samples import ExportSample

_LICENCES = {
    "apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "cc-by-nd-4.0", "mit", "unknown",
}  # fmt: skip
UNSTATED = "not stated"


def dataset_card(samples: Sequence[ExportSample], *, name: str) -> str:
    """The whole README.md."""
    licences = Counter(_licence(sample) for sample in samples)
    header = yaml.safe_dump(_header(licences, len(samples), name=name), sort_keys=False, allow_unicode=True)
    splits = by_split(samples)
    counts = [(split, len(members), f"{hours(members):.2f}") for split, members in splits.items()]
    sizes = Counter(f"{sample.clip.width}×{sample.clip.height}" for sample in samples)
    actions = Counter(phase.action for sample in samples for phase in sample.phases)
    lengths = sorted(sample.duration_s for sample in samples)
    speakers = {value for sample in samples if (value := sample.manifest_columns.get("speaker"))}
    facts = [
        ("clips", len(samples)), ("hours", f"{hours(samples):.2f}"),
        ("sources", len({sample.clip.source_id for sample in samples})), ("speakers named", len(speakers)),
        ("frames per second", samples[0].rate),
        ("seconds per clip", f"{lengths[0]:.2f} to {lengths[-1]:.2f}, median {median(lengths):.2f}"),
        ("clips with audio", sum(sample.clip.samples > 0 for sample in samples)),
        ("clips with timed phases", sum(bool(sample.phases) for sample in samples)),
        ("mirrored copies", sum(sample.is_mirrored for sample in samples)),
    ]  # fmt: skip
    return "\n\n".join(
        [
            f"---\n{header}---",
            f"# {_cell(name)}",
            "Clips of talking people with captions and phase-timed actions, exported by xsheet. Load it with "
            '`datasets.load_dataset("FOLDER")`; `caption` is the text for training, `events` and `phases` hold its '
            "times in seconds.",
            "## Licences\n\nAs the manifest of the sources states them; check them before you publish.",
            _table(("licence", "clips"), licences.most_common()),
            "## Splits\n\nNo person, source or near duplicate is in two splits.",
            _table(("split", "clips", "hours"), counts),
            "## Figures",
            _table(("", ""), facts),
            _table(("size", "clips"), sizes.most_common(20)),
            *([_table(("action", "phases"), actions.most_common(30))] if actions else []),
        ]
    ) + "\n"  # fmt: skip


def licence_of(samples: Iterable[ExportSample]) -> str:
    """The one licence of all samples, or the list of them."""
    return ", ".join(sorted({_licence(sample) for sample in samples}))


def hours(samples: Iterable[ExportSample]) -> float:
    """Total length."""
    return sum(sample.duration_s for sample in samples) / 3600


def _header(licences: Counter[str], clips: int, *, name: str) -> dict[str, object]:
    known = [_identifier(licence) for licence in licences]
    one = known[0] if len(known) == 1 and known[0] in _LICENCES else None
    licence = {"license": one} if one else {"license": "other", "license_name": ", ".join(sorted(licences))}
    size = next((label for label, limit in _SIZES if clips < limit), ">1T")
    return {"pretty_name": name, **licence, "task_categories": ["text-to-video"], "size_categories": [size]}


_SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7))


def _licence(sample: ExportSample) -> str:
    columns = sample.manifest_columns
    return columns.get("licence") or columns.get("license") or UNSTATED


def _identifier(licence: str) -> str:
    return "-".join(licence.lower().split())


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(str(value)) for value in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Untrusted text inside Markdown: one line, without markup."""
    visible = "".join(c if c.isprintable() else " " for c in text)
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!" else c for c in visible)
