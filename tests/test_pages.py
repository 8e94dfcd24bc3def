"""Names, paths, links, papers and benchmarks on the pages exist, and the numbers of the scaling plan add up."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

from xsheet.annotate.settings import AnnotateSettings
from xsheet.audit.settings import AuditSettings
from xsheet.curate.settings import CurateSettings
from xsheet.schemas.tables import TABLES

ROOT = Path(__file__).resolve().parents[1]
LOG = ROOT / "docs" / "log"
PARTS = ("schemas", "curate", "annotate", "audit", "model", "train", "export", "demo")
GENERATED = ROOT / "docs" / "data-contract.md"
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
GLOSSARY = ROOT / "docs" / "decisions" / "0016-second-edition.md"  # lists old names
EXTEND = ROOT / "docs" / "extend.md"  # adds names of its own
NAMED = [page for page in PAGES if page not in {GENERATED, GLOSSARY, EXTEND}]
OUTSIDE = {"WanTransformer3DModel", "AttributeError", "TypeError", "AVRational", "Fraction", "Dataset.iter_rows"}
"""Names of libraries that pages mention."""
KEYS = {"Space", "Enter", "Del"}
LIBRARIES = {"datasets", "ray", "av", "safetensors", "torch", "syncnet_v2", "syncnet"}
FILE_TYPES = {
    "py",
    "md",
    "json",
    "jsonl",
    "csv",
    "zip",
    "task",
    "yaml",
    "yml",
    "html",
    "mp4",
    "png",
    "toml",
    "txt",
    "model",
    "safetensors",
    "parquet",
    "lock",
}


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def tracked(*suffixes: str) -> list[Path]:
    """Files of the repository with these suffixes."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return [ROOT / name for name in names if Path(name).suffix in suffixes and (ROOT / name).is_file()]


def code_spans(page: Path) -> list[str]:
    """Inline code of a page, without its fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


@cache
def source_files() -> dict[str, Path]:
    """Every module by its dotted name."""
    files = {}
    for file in [file for part in (*PARTS, "src/xsheet") for file in (ROOT / part).rglob("*.py")]:
        inside = file.relative_to(ROOT / "src" / "xsheet" if file.is_relative_to(ROOT / "src") else ROOT)
        files[".".join(("xsheet", *inside.with_suffix("").parts)).removesuffix(".__init__")] = file
    return files


@cache
def definitions(file: Path) -> frozenset[str]:
    """Top-level names of a module, and `Class.member` of its classes."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        names |= _names_of(node)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for inner in node.body for name in _names_of(inner)}
    return frozenset(names)


def _names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


@cache
def all_definitions() -> frozenset[str]:
    return frozenset().union(*(definitions(file) for file in source_files().values()))


def dotted_name_exists(name: str) -> bool:
    """Whether `xsheet.a.b` is a module, or `xsheet.a.b.Name` a definition in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        file = source_files().get(".".join(parts[:end]))
        if file is not None:
            return end == len(parts) or ".".join(parts[end:]) in definitions(file)
    return False


@pytest.mark.parametrize("page", NAMED, ids=page_id)
def test_module_names_exist(page):
    text = page.read_text(encoding="utf-8")
    names = re.findall(r"\bxsheet(?:\.\w+)+", text)
    assert not [name for name in names if not dotted_name_exists(name)]


@pytest.mark.parametrize("page", [*NAMED, EXTEND], ids=page_id)
def test_paths_exist(page):
    """Paths in code spans that begin with a folder of the repository."""
    folders = "|".join((*PARTS, "src", "tests", "benchmarks", "docs"))
    paths = [span for span in code_spans(page) if re.fullmatch(rf"(?:{folders})/[\w./-]*", span)]
    new = set(re.findall(r"^\+\+\+ b/(\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert not [path for path in paths if path not in new and not (ROOT / path).exists()]


@pytest.mark.parametrize("page", NAMED, ids=page_id)
def test_classes_and_functions_exist(page):
    """Code spans that look like `ClassName`, `ClassName.member`, `CONSTANT_NAME` or `function_name`."""
    names = [span for span in code_spans(page) if re.fullmatch(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*(\.\w+)?", span)]
    constants = [span for span in code_spans(page) if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", span)]
    missing = {name for name in (*names, *constants) if name not in all_definitions() | OUTSIDE | KEYS}
    assert not {name for name in missing if not environment_variable(name)}


def environment_variable(name: str) -> bool:
    return name.startswith(("XSHEET_", "RLIMIT_", "PR_", "OMP_", "AWS_", "AZURE_", "GOOGLE_", "HF_", "STORAGE_"))


def words_of_sources() -> set[str]:
    files = [file for part in (*PARTS, "src", "benchmarks", "tests") for file in (ROOT / part).rglob("*")]
    text = "".join(file.read_text(encoding="utf-8") for file in files if file.suffix in {".py", ".yaml", ".html"})
    return set(re.findall(r"\w+", text))


def test_identifiers_occur_in_the_sources():
    """Lower-case identifiers with an underscore: columns, settings, functions, reasons."""
    known = words_of_sources()
    missing = {
        (page_id(page), span)
        for page in NAMED
        for span in code_spans(page)
        if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", span) and span not in known
    }
    assert not missing


def has_field(model: object, path: list[str]) -> bool:
    """Whether a settings model has a field at this path, through optional sections and lists of named items."""
    if not path:
        return True
    if get_origin(model) is tuple:  # a list: the next word is the name of an item
        return has_field(get_args(model)[0], path[1:])
    if isinstance(model, type) and issubclass(model, BaseModel):
        field = model.model_fields.get(path[0])
        return field is not None and has_field(field.annotation, path[1:])
    return any(has_field(part, path) for part in get_args(model))


@cache
def settings_models() -> tuple[type[BaseModel], ...]:
    from xsheet.train.evaluate.evaluate import EvaluationSettings
    from xsheet.train.sample.sampler import SampleSettings
    from xsheet.train.settings import TrainSettings

    return CurateSettings, AnnotateSettings, AuditSettings, TrainSettings, SampleSettings, EvaluationSettings


@pytest.mark.parametrize("page", NAMED, ids=page_id)
def test_settings_and_columns_exist(page):
    """Code spans like `section.key`, `section.*` and `table.column`, with or without `=value`."""
    columns = {table.name: set(table.record.__dataclass_fields__) for table in TABLES}
    missing = []
    for span in code_spans(page):
        name = span.partition("=")[0].removesuffix(".*")
        if not re.fullmatch(r"[a-z]\w*(\.\w+)+", name) and not span.endswith(".*"):
            continue
        path = name.split(".")
        if path[-1] in FILE_TYPES or path[0] in LIBRARIES or path[0] == "xsheet":
            continue
        if path[0] in columns and path[1] in columns[path[0]]:
            continue
        if not any(has_field(model, path) for model in settings_models()):
            missing.append(span)
    assert not missing


def test_a_name_that_does_not_exist_is_found():
    assert not dotted_name_exists("xsheet.annotate.motion.no_such_module")
    assert not dotted_name_exists("xsheet.schemas.clip.NoSuchRecord")
    assert dotted_name_exists("xsheet.schemas.clip.Measures.sync")
    assert not has_field(CurateSettings, ["face", "no_such_limit"])
    assert has_field(CurateSettings, ["face", "min_height_px"])


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=page_id)
def test_links_resolve(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^":]+)"', text):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub builds them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_pages_refer_to_no_section_of_another_document(page):
    assert "§" not in page.read_text(encoding="utf-8")


def test_log_entries_that_sources_refer_to_exist():
    mention = r"docs/log/([a-z]+\.md)(?:#([\w-]+))?"
    files = tracked(".py", ".yaml", ".txt", ".toml", ".md")
    mentions = {match for file in files for match in re.findall(mention, file.read_text(encoding="utf-8"))}
    assert mentions
    assert not [(page, anchor) for page, anchor in mentions if anchor not in {"", *anchors(LOG / page)}]
    assert not [file.name for file in files if re.search(r"\blog\.md\b", file.read_text(encoding="utf-8"))]


def test_every_arxiv_number_is_in_the_references():
    files = tracked(".py", ".yaml", ".md", ".cff")
    numbers = {
        number
        for file in files
        for number in re.findall(r"arXiv[: ](\d{4}\.\d{4,5})", file.read_text(encoding="utf-8"))
    }
    listed = (ROOT / "docs" / "references.md").read_text(encoding="utf-8")
    assert numbers
    assert not {number for number in numbers if f"[{number}](https://arxiv.org/abs/{number})" not in listed}


def benchmarks() -> dict[str, str]:
    """Name and command of every benchmark, from the list of bench.py."""
    tree = ast.parse((ROOT / "benchmarks" / "bench.py").read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Bench")
    return {call.args[0].value: call.args[1].value for call in calls}


def test_every_benchmark_has_one_place_on_the_pages():
    listed = benchmarks()
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {name: text.count(f"<!-- bench: {name} -->\n") for name in listed} == dict.fromkeys(listed, 1)
    assert {name: text.count(f"<!-- end: {name} -->") for name in listed} == dict.fromkeys(listed, 1)
    scripts = {file.name for file in (ROOT / "benchmarks").glob("*.py")}
    assert {command.split()[0] for command in listed.values()} == scripts - {
        "bench.py", "puppet_set.py", "fit_lip_audio.py", "fit_face_reader.py", "fit_upscaler.py", "pretrain.py",
    }  # fmt: skip


def test_a_benchmark_replaces_its_own_table_only(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- bench: a -->\nold\n<!-- end: a -->\n<!-- bench: ab -->\nkept\n<!-- end: ab -->\n")
    code = (
        "import sys; from pathlib import Path; from bench import place; place('a', r'new \\1', docs=Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT / "benchmarks", check=True)
    assert page.read_text() == page.read_text().replace("old", "")
    assert "<!-- bench: a -->\nnew \\1\n<!-- end: a -->" in page.read_text()
    assert "kept" in page.read_text()


def scaling_plan() -> str:
    return (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_the_arithmetic_of_the_scaling_plan_adds_up():
    row = r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \| ([\d,.]+) (CPU h|GPU h|GB) \|"
    rows = re.findall(row, scaling_plan(), re.MULTILINE)
    assert len(rows) == 16
    for amount, unit_cost, total, unit in rows:
        number, cost, result = (float(text.split()[0].replace(",", "")) for text in (amount, unit_cost, total))
        assert number * cost / (1 if unit == "GB" else 3600) == pytest.approx(result, rel=0.03), amount


def test_the_scaling_plan_uses_the_unit_costs_of_the_estimate():
    from xsheet.curate.report.estimate import MEASURED_COSTS as COSTS

    assert sum(COSTS.cpu_s_per_minute.values()) == pytest.approx(23.27, rel=0.01)
    for value in (COSTS.kept_share, COSTS.table_mb_per_hour / 1000, COSTS.clip_mb_per_minute / 1000):
        assert f" {value:g} " in scaling_plan()


def test_the_scaling_plan_uses_the_flops_of_the_trainer():
    from xsheet.model.config import wan2_2_ti2v_5b_config
    from xsheet.train.loop.metrics import clip_flops

    clip = clip_flops(wan2_2_ti2v_5b_config(), frames=32, height=44, width=80)
    assert f"{clip.tokens:,} tokens" in scaling_plan()
    assert f"{clip.training_flops(1) / 1e12:,.0f} TFLOP" in scaling_plan()
    assert clip.training_flops(1) / 0.4 / 989e12 == pytest.approx(4.36, abs=0.01)


@pytest.mark.nightly
def test_the_site_builds_without_a_dead_link(tmp_path):
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    result = subprocess.run(mkdocs, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "api" / "xsheet.cli" / "index.html").is_file()
