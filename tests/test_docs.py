"""The commands of the pages parse, those of tutorial and README run, and the diffs of extend.md apply and work."""

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

import pytest
import typer
from typer.testing import CliRunner

from xsheet import cli
from xsheet.curate.filter.decide import FILTER_RULES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
EXTEND = ROOT / "docs" / "extend.md"
RECORDS = {*(ROOT / "docs" / "log").glob("*.md"), ROOT / "docs" / "data-contract.md"}  # dated entries; generated
NEEDS = "# needs "
"""Comment of a command that not every machine can run; the tests parse it and do not run it."""
CHANGED = "the change above"
"""Requirement of the commands of extend.md: the sources with its diffs."""


@dataclass(frozen=True)
class Command:
    """One command of a page, without its comment."""

    page: str
    text: str
    comment: str

    @property
    def needs(self) -> str | None:
        return self.comment.removeprefix(NEEDS) if self.comment.startswith(NEEDS) else None

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def commands(page: Path) -> list[Command]:
    """Commands of a page's shell blocks, in order: blocks fenced with `sh`, or indented blocks of our commands."""
    text = page.read_text(encoding="utf-8").replace("†", "").replace("\\\n", " ")
    fenced = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks = [*fenced, *re.findall(r"^ {4}((?:xsheet|make) .*)$", outside, re.MULTILINE)]
    line = re.compile(
        r"(?P<text>\S[^\n]*? <<'END'\n(?s:.*?)\nEND|\S[^\n]*?)(?:[ \t]+(?P<comment># [^\n]*))?$", re.MULTILINE
    )
    matches = (match for block in blocks for match in re.finditer(line, block))
    return [Command(page.name, match["text"].rstrip(), match["comment"] or "") for match in matches]


@cache
def verbs():
    return typer.main.get_command(cli.app)


OURS = [
    command for page in PAGES if page not in RECORDS for command in commands(page) if command.text.startswith("xsheet ")
]


def parsed(text: str):
    """The verb and its parameters as click parses them; nothing runs."""
    words = shlex.split(re.sub(r"(--set )?(…|\.\.\.)(?=\s|$)", "", text))[1:]
    command = verbs()
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    return command, command.make_context("xsheet", words).params


PARAMETERS = {"overrides": "set_"}
"""Parameters of `preset_settings` whose option has another name."""


def check(text: str):
    """Parse a command and load the settings that it names; returns the verb."""
    verb, options = parsed(text)
    module = sys.modules[verb.callback.__module__] if verb.callback else None
    preset_settings = getattr(module, "preset_settings", None)
    if preset_settings is not None and options.get("config") is None:
        names = {name: PARAMETERS.get(name, name) for name in inspect.signature(preset_settings).parameters}
        if options.keys() >= set(names.values()):
            preset_settings(**{name: options[option] for name, option in names.items()})
    if "over" in options:
        assert options["over"].partition("=")[0] in {rule.limit_path for rule in FILTER_RULES}
    return verb


@pytest.mark.parametrize("command", OURS, ids=str)
def test_a_command_of_a_page_parses(command):
    parsed(command.text) if command.needs == CHANGED else check(command.text)


def leaves(command):
    """Every verb of the command line."""
    below = [leaf for inner in getattr(command, "commands", {}).values() for leaf in leaves(inner)]
    return below or [command]


@pytest.mark.parametrize(
    "verb", leaves(verbs()), ids=lambda verb: verb.callback.__module__.split(".")[-1] + "." + verb.name
)
def test_the_examples_of_a_help_text_parse(verb):
    for example in re.findall(r"xsheet [a-z].*", (verb.help or "").partition("Example")[2]):
        assert check(example) is verb


def test_verbs_named_in_a_sentence_exist():
    for page in PAGES:
        for mention in re.findall(r"`xsheet ([a-z][^`]*)`", page.read_text(encoding="utf-8")):
            command = verbs()
            for word in re.match(r"[a-z-]+( [a-z-]+)?", mention)[0].split():
                if hasattr(command, "commands"):
                    command = command.commands[word]


def test_an_unknown_option_is_an_error():
    with pytest.raises(Exception, match="No such option"):
        parsed("xsheet curate run videos --out my-set --no-such-option")


TRAINED = (
    "--set stages.stage1.steps=2 --set stages.stage2.steps=2 --set loader.batch_size=2 --set compute.micro_batch_size=2"
)
SMALLER = {
    "--films 40": "--films 4 --seed 173",  # no film of this seed is rejected
    "0004-talk": "0001-talk",
    "train run my-set --out my-run": f"train run my-set --out my-run {TRAINED}",
    "train sample my-run": "train sample my-run --set steps=2",
    "train evaluate my-run my-set": "train evaluate my-run my-set --set max_clips=2 --set sample.steps=2 "
    "--set split=train --set fitted_reader.steps=20",  # with so few clips the test split is empty
}
"""Text of a command, and the faster text that the tests run instead."""


class Shell:
    """Runs the commands of pages in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.replaced = folder, set()
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def run(self, page: Path, *, needs: str | None = None, sources: Path | None = None) -> None:
        """Run the commands of a page that have this need; `sources` replaces the installed package."""
        for command in commands(page):
            if command.needs == needs and not command.text.startswith("make "):
                self._run(command.text, {} if sources is None else {"PYTHONPATH": str(sources / "src")})

    def _run(self, text: str, more: dict[str, str]) -> None:
        for shown, smaller in SMALLER.items():
            if shown in text:
                text = text.replace(shown, smaller)
                self.replaced.add(shown)
        if "clip_3f2a" in text:
            import pandas  # a second of CPU, in nightly tests only

            text = text.replace("clip_3f2a", pandas.read_parquet(self.folder / "my-set/clips").clip_id[0][:12])
        if text.startswith("xsheet ") and not more and not set(text) & set("|<>&;$*?"):
            with contextlib.chdir(self.folder):  # in this process, so that imports are loaded once for all pages
                result = CliRunner().invoke(cli.app, shlex.split(text)[1:])
            assert result.exit_code == 0, f"{text}\n{result.output[-2000:]}\n{result.exception!r}"
            return
        result = subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env=self._environment | more, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{text}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory) -> Shell:
    """The folder in which the commands of the tutorial have run."""
    shell = Shell(tmp_path_factory.mktemp("pages"))
    shell.run(ROOT / "docs" / "tutorial.md")
    return shell


@pytest.fixture
def shell(tutorial, tmp_path) -> Shell:
    """A copy of the tutorial's folder."""
    return Shell(shutil.copytree(tutorial.folder, tmp_path / "pages"))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_tutorial_leads_to_a_video(tutorial):
    assert (tutorial.folder / "nod.mp4").stat().st_size > 10_000
    assert (tutorial.folder / "my-model" / "transformer").is_dir()
    assert tutorial.replaced == set(SMALLER)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_commands_of_the_readme_run(shell):
    (shell.folder / "videos").symlink_to("puppet/videos")  # the user's own videos
    shell.run(ROOT / "README.md")


@pytest.fixture(scope="module")
def changed(tmp_path_factory) -> Path:
    """A copy of the sources with the diffs of extend.md."""
    folder = tmp_path_factory.mktemp("changed")
    for part in ("src", "schemas", "curate", "annotate", "audit", "model", "train", "export", "demo"):
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for diff in re.findall(r"^```diff\n(.*?)^```$", EXTEND.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        subprocess.run(["git", "apply", "-"], cwd=folder, input=diff, text=True, check=True)
    return folder


def test_the_diffs_of_the_page_on_extending_fit_the_sources(changed):
    assert (changed / "annotate" / "still.py").is_file()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_examples_of_the_page_on_extending_run(shell, changed):
    import pandas

    shell.run(EXTEND, needs=CHANGED, sources=changed)
    reasons = pandas.read_parquet(shell.folder / "pauses" / "verdicts").reasons
    assert all("long_pause" in found for found in reasons)
    findings = pandas.read_parquet(shell.folder / "my-set" / "findings")
    assert "B9" in set(findings["check"])
