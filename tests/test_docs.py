"""Pages keep their word: their commands parse, those of tutorial and README run, links and benchmarks have a place."""

import ast
import contextlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas
import pytest
import typer
import yaml
from typer.testing import CliRunner

import xsheet
from xsheet import cli
from xsheet.curate.filter.decide import FILTER_RULES

ROOT = Path(__file__).resolve().parents[1]
LOG = ROOT / "docs" / "log"
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
EXTEND = ROOT / "docs" / "extend.md"
RECORDS = {*LOG.glob("*.md"), ROOT / "docs" / "data-contract.md"}  # what was true on a day; what is generated
NEEDS = "# needs "
"""How a page says that a command is not for every machine; it is parsed in tests, not run."""
MENTION = r"docs/log/([a-z]+\.md)(?:#([\w-]+))?"
CHANGED = "the change above"
"""What the commands of extend.md need: the sources with its diffs."""


@dataclass(frozen=True)
class Command:
    """One command as a page shows it, its comment apart."""

    page: str
    text: str
    comment: str

    @property
    def needs(self) -> str | None:
        return self.comment.removeprefix(NEEDS) if self.comment.startswith(NEEDS) else None

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def commands(page: Path) -> list[Command]:
    """What a page's shell blocks say, in order: blocks fenced with `sh`, or indented and beginning with our command."""
    text = page.read_text(encoding="utf-8").replace("†", "").replace("\\\n", " ")
    fenced = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks = [*fenced, *re.findall(r"^ {4}((?:xsheet|make) .*)$", outside, re.MULTILINE)]
    line = re.compile(
        r"(?P<text>\S[^\n]*? <<'END'\n(?s:.*?)\nEND|\S[^\n]*?)(?:[ \t]+(?P<comment># [^\n]*))?$", re.MULTILINE
    )
    found = (one for block in blocks for one in re.finditer(line, block))
    return [Command(page.name, one["text"].rstrip(), one["comment"] or "") for one in found]


@cache
def verbs():
    return typer.main.get_command(cli.app)


OURS = [one for page in PAGES if page not in RECORDS for one in commands(page) if one.text.startswith("xsheet ")]


def parsed(text: str):
    """The verb and its parameters, as click reads them; nothing is run."""
    words = shlex.split(re.sub(r"(--set )?(…|\.\.\.)(?=\s|$)", "", text))[1:]
    command = verbs()
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    return command, command.make_context("xsheet", words).params


def check(text: str):
    """Parse a command and load the settings it names; returns the verb."""
    verb, params = parsed(text)
    settings_of = getattr(sys.modules[verb.callback.__module__], "settings_of", None) if verb.callback else None
    if settings_of is not None:
        given = {name: params.get("set_" if name == "overrides" else name, KeyError)
                 for name in inspect.signature(settings_of).parameters}  # fmt: skip
        if KeyError not in given.values() and params.get("config") is None:
            settings_of(**given)
    if "over" in params:
        assert params["over"].partition("=")[0] in {judged.limit_path for judged in FILTER_RULES}
    return verb


@pytest.mark.parametrize("command", OURS, ids=str)
def test_a_command_of_a_page_exists_with_its_options(command):
    parsed(command.text) if command.needs == CHANGED else check(command.text)


def leaves(command):
    """Every verb."""
    below = [leaf for inner in getattr(command, "commands", {}).values() for leaf in leaves(inner)]
    return below or [command]


@pytest.mark.parametrize(
    "verb", leaves(verbs()), ids=lambda verb: verb.callback.__module__.split(".")[-1] + "." + verb.name
)
def test_the_examples_of_a_verbs_help_exist_with_their_options(verb):
    for example in re.findall(r"xsheet [a-z].*", (verb.help or "").partition("Example")[2]):
        assert check(example) is verb


def test_verbs_named_in_a_sentence_exist():
    for page in PAGES:
        for said in re.findall(r"`xsheet ([a-z][^`]*)`", page.read_text(encoding="utf-8")):
            command = verbs()
            for word in re.match(r"[a-z-]+( [a-z-]+)?", said)[0].split():
                if hasattr(command, "commands"):
                    command = command.commands[word]


def test_a_wrong_option_of_a_page_would_be_noticed():
    with pytest.raises(Exception, match="No such option"):
        parsed("xsheet curate run videos --out my-set --no-such-option")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^":]+)"', text):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def test_what_sources_and_presets_say_of_the_log_is_there():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    files = [ROOT / name for name in tracked if Path(name).suffix in {".py", ".yaml", ".txt", ".toml", ".md"}]
    said = {
        found for file in files if file.is_file() for found in re.findall(MENTION, file.read_text(encoding="utf-8"))
    }
    assert said
    assert not [(page, anchor) for page, anchor in said if anchor not in {"", *anchors(LOG / page)}]
    assert not [file.name for file in files if re.search(r"\blog\.md\b", file.read_text(encoding="utf-8"))]


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub names them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-") for head in heads}


def test_every_arxiv_number_is_in_the_references():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    files = [ROOT / name for name in tracked if Path(name).suffix in {".py", ".yaml", ".md", ".cff"}]
    said = {number for file in files if file.is_file()
            for number in re.findall(r"arXiv[: ](\d{4}\.\d{4,5})", file.read_text(encoding="utf-8"))}  # fmt: skip
    listed = (ROOT / "docs" / "references.md").read_text(encoding="utf-8")
    assert said
    assert not {number for number in said if f"[{number}](https://arxiv.org/abs/{number})" not in listed}


def benchmarks() -> dict[str, str]:
    """Name and command of every benchmark, read from the driver's list."""
    tree = ast.parse((ROOT / "benchmarks" / "bench.py").read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Bench")
    return {call.args[0].value: call.args[1].value for call in calls}


def test_every_benchmark_is_listed_and_has_one_place():
    listed = benchmarks()
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {name: text.count(f"<!-- bench: {name} -->\n") for name in listed} == dict.fromkeys(listed, 1)
    assert {name: text.count(f"<!-- end: {name} -->") for name in listed} == dict.fromkeys(listed, 1)
    scripts = {file.name for file in (ROOT / "benchmarks").glob("*.py")} - {
        "bench.py",
        "puppet_set.py",
        "fit_lip_audio.py",
    }
    assert {command.split()[0] for command in listed.values()} == scripts


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


def test_the_arithmetic_of_the_scaling_plan_adds_up():
    rows = re.findall(
        r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \| ([\d,.]+) (CPU h|GPU h|GB) \|",
        (ROOT / "docs" / "scaling.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == 15
    for amount, unit, total, of in rows:
        number, cost, told = (float(text.split()[0].replace(",", "")) for text in (amount, unit, total))
        assert number * cost / (1 if of == "GB" else 3600) == pytest.approx(told, rel=0.03), amount


def test_the_plan_for_curation_uses_the_costs_that_describe_uses():
    from xsheet.curate.report.estimate import MEASURED_COSTS

    text = (ROOT / "docs" / "scaling.md").read_text()
    assert sum(MEASURED_COSTS.cpu_s_per_minute.values()) == pytest.approx(23.27, rel=0.01)
    for value in (
        MEASURED_COSTS.kept_share,
        MEASURED_COSTS.table_mb_per_hour / 1000,
        MEASURED_COSTS.clip_mb_per_minute / 1000,
    ):
        assert f" {value:g} " in text


def test_the_plan_for_training_uses_the_arithmetic_of_the_trainer():
    from xsheet.model.config import wan2_2_ti2v_5b_config
    from xsheet.train.loop.metrics import clip_flops

    clip, text = (
        clip_flops(wan2_2_ti2v_5b_config(), frames=32, height=44, width=80),
        (ROOT / "docs" / "scaling.md").read_text(),
    )
    assert f"{clip.tokens:,} tokens" in text
    assert f"{clip.training_flops(1) / 1e12:,.0f} TFLOP" in text
    assert clip.training_flops(1) / 0.4 / 989e12 == pytest.approx(4.36, abs=0.01)


TRAINED = "--set stage1.steps=2 --set stage2.steps=2 --set data.batch=2 --set compute.micro_batch_size=2"
SMALLER = {
    "--clips 40": "--clips 4 --seed 173",  # films without a fault that drops them
    "0004-talk": "0001-talk",
    "train run my-set --out my-run": f"train run my-set --out my-run {TRAINED}",
    "train sample my-run": "train sample my-run --set steps=2",
    "train evaluate my-run my-set": "train evaluate my-run my-set --set clips=2 --set sample.steps=2 --set split=train "
    "--set fitting.steps=20",  # so few clips leave the test split empty
}
"""What a page says, and what is run in its place."""


class Shell:
    """Runs what pages say in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.replaced = folder, set()
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def run(self, page: Path, *, needs: str | None = None, sources: Path | None = None) -> None:
        """Run the commands of a page that need nothing, or just that; by other sources where they are given."""
        for command in commands(page):
            if command.needs == needs and not command.text.startswith("make "):
                self._run(command.text, {} if sources is None else {"PYTHONPATH": str(sources / "src")})

    def _run(self, text: str, more: dict[str, str]) -> None:
        for said, smaller in SMALLER.items():
            if said in text:
                text = text.replace(said, smaller)
                self.replaced.add(said)
        if "clip_3f2a" in text:
            text = text.replace("clip_3f2a", pandas.read_parquet(self.folder / "my-set/clips").clip_id[0][:12])
        if text.startswith("xsheet ") and not more and not set(text) & set("|<>&;$*?"):
            with contextlib.chdir(self.folder):  # in this process: what a verb imports is loaded once for all pages
                result = CliRunner().invoke(cli.app, shlex.split(text)[1:])
            assert result.exit_code == 0, f"{text}\n{result.output[-2000:]}\n{result.exception!r}"
            return
        ran = subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env=self._environment | more, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{text}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> Shell:
    """The folder in which the tutorial was walked."""
    shell = Shell(tmp_path_factory.mktemp("pages"))
    shell.run(ROOT / "docs" / "tutorial.md")
    return shell


@pytest.fixture
def shell(walked, tmp_path) -> Shell:
    """A copy of it."""
    return Shell(shutil.copytree(walked.folder, tmp_path / "pages"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_leads_to_a_video(walked):
    assert (walked.folder / "nod.mp4").stat().st_size > 10_000
    assert (walked.folder / "my-model" / "transformer").is_dir()
    assert walked.replaced == set(SMALLER)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_commands_of_the_readme_run(shell):
    (shell.folder / "videos").symlink_to("puppet/videos")  # of your own
    shell.run(ROOT / "README.md")


@pytest.fixture(scope="module")
def changed(tmp_path_factory) -> Path:
    """The sources with the diffs of extend.md."""
    folder = tmp_path_factory.mktemp("changed")
    for part in ("src", "schemas", "curate", "annotate", "audit", "model", "train", "demo"):
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for diff in re.findall(r"^```diff\n(.*?)^```$", EXTEND.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        subprocess.run(["git", "apply", "-"], cwd=folder, input=diff, text=True, check=True)
    return folder


def test_the_diffs_of_the_page_on_extending_fit_the_sources(changed):
    assert (changed / "annotate" / "still.py").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_examples_of_the_page_on_extending_run(shell, changed):
    shell.run(EXTEND, needs=CHANGED, sources=changed)
    reasons = pandas.read_parquet(shell.folder / "pauses" / "verdicts").reasons
    assert all("long_pause" in found for found in reasons)
    findings = pandas.read_parquet(shell.folder / "my-set" / "findings")
    assert "B9" in set(findings["check"])


@pytest.mark.parametrize("target", ["demo", "test", "check", "test-all", "bench", "contract", "docs"])
def test_make_knows_the_target(target):
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_dockerfile_takes_the_steps_of_the_readme():
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "apt-get install libgl1 libglib2.0-0" in readme
    assert "libgl1 libglib2.0-0" in image
    (step,) = re.findall(r'pip install --no-cache-dir (-c constraints.txt "\.\[train\]")', image)
    assert f"pip install {step}" in readme


def test_workflows_run_make_targets_and_nothing_else():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        (job,) = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values()
        ran = [step["run"] for step in job["steps"] if "run" in step and "apt-get" not in step["run"]]
        assert [line.split()[0] for line in ran] == ["make"] * len(ran) != []
        wanted = job.get("strategy", {}).get("matrix", {}).get("target", [ran[0].split()[1]])
        assert set(wanted) <= targets


def test_pre_commit_runs_what_make_check_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert {hook["entry"] for hook in hooks} == {"make lint", "make types"}


def test_the_version_is_the_same_everywhere():
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert said["version"] == xsheet.__version__
    assert said["license"] == "Apache-2.0"
    assert f"\n## {xsheet.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_site_builds_without_a_dead_link(tmp_path):
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    ran = subprocess.run(mkdocs, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert (tmp_path / "api" / "xsheet.cli" / "index.html").is_file()
