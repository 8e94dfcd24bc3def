"""The command as a user meets it: exit codes, one-line errors, JSON, names chosen by strangers."""

import inspect
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from typing import get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from xsheet import __version__
from xsheet.cli import app
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.sets import create_set
from xsheet.schemas.source import SourceVideo

pytestmark = pytest.mark.slow  # processes, films or models: seconds

COMMAND = [sys.executable, "-c", "from xsheet.cli import main; main()"]


def xsheet(*arguments, **options):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, **options)


def test_version_is_the_version_of_the_package():
    assert xsheet("--version").stdout == f"xsheet {__version__}\n"


def commands(command=None, path=()):
    """Path and command of everything that can be called, groups too."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


COMMANDS = {" ".join(path): command for path, command in commands()}
VERBS = [path for path, command in COMMANDS.items() if not hasattr(command, "commands")]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_a_help_page(path):
    ran = CliRunner().invoke(app, [*path.split(), "--help"])
    assert ran.exit_code == 0
    assert f"Usage: xsheet {path}".strip() in " ".join(ran.stdout.split())
    assert COMMANDS[path].help


@pytest.mark.parametrize("path", VERBS)
def test_every_help_page_has_an_example(path):
    assert re.search(rf"Examples?: xsheet {path}\b", COMMANDS[path].help)


@pytest.mark.parametrize("path", VERBS)
def test_every_option_has_a_help_text(path):
    assert not [option.name for option in COMMANDS[path].params if not option.help]


PRESETS = {
    "curate run", "curate decide", "curate segment", "curate selftest-sync", "curate sweep", "curate estimate",
    "annotate run", "audit run", "audit explain", "audit accept", "train cache", "train run", "run",
}  # fmt: skip


def options(path):
    """Long names of a command's options."""
    return {name for param in COMMANDS[path].params for name in param.opts if name.startswith("--")}


@pytest.mark.parametrize("path", [*VERBS, "demo"])
def test_options_have_one_name_each(path):
    names = options(path)
    assert ("--preset" in names) == (path in PRESETS)
    assert not names & {"--gate", "--size", "--annotator", "--gpus-per-worker", "--cores", "--threads", "--output"}
    assert ("--workers" in names) == (path == "train run")
    assert "--json" in names
    assert not [param.name for param in COMMANDS[path].params if param.name == "out" and "--out" not in param.opts]


@pytest.mark.parametrize("path", [*VERBS, "demo"])
def test_number_options_take_a_number(path):
    hints = get_type_hints(COMMANDS[path].callback)
    for name in {"gpus", "jobs", "workers", "limit", "seed"} & hints.keys():
        assert hints[name] in (int, float, int | None), name


@pytest.mark.parametrize("path", [*VERBS, "demo"])
def test_a_verb_with_progress_can_hide_it(path):
    source = inspect.getsource(COMMANDS[path].callback)
    has_progress = re.search(r"shows?_progress|Progress\(|log_training_to_stderr", source) is not None
    assert ("--quiet" in options(path)) == has_progress
    assert all("-q" in param.opts for param in COMMANDS[path].params if param.name == "quiet")


def test_options_of_one_name_have_one_short_form():
    short = {}
    for path in [*VERBS, "demo"]:
        for param in COMMANDS[path].params:
            letters = frozenset(name for name in param.opts if not name.startswith("--"))
            short.setdefault(param.opts[0], set()).add(letters)
    assert not {name: forms for name, forms in short.items() if name.startswith("--") and len(forms) > 1}


@pytest.mark.parametrize("path", ["demo", "demo corpus --out films", "run . --out set", "curate run . --out set",
                                  "curate estimate", "train sample r --portrait p --audio a --script s --out o",
                                  "train evaluate r s", "train run s --out r", "train cache s"])  # fmt: skip
def test_a_dry_run_prints_json(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"0")
    ran = CliRunner().invoke(app, [*path.split(), *(() if path == "curate estimate" else ("--dry-run",)), "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_preset_of_a_part_needs_a_known_part(tmp_path):
    ran = CliRunner().invoke(app, ["run", str(tmp_path), "--out", "set", "--preset", "curat=train"])
    assert isinstance(ran.exception, ConfigError)
    assert "--preset: expected PART=NAME with PART one of curate, annotate, audit, train" in str(ran.exception)


@pytest.mark.parametrize("path", COMMANDS)
def test_an_unknown_option_is_exit_2_on_stderr_and_no_traceback(path):
    ran = CliRunner().invoke(app, [*path.split(), "--no-such-option"])
    assert ran.exit_code == 2
    assert isinstance(ran.exception, SystemExit)
    assert "No such option" in ran.stderr
    assert not ran.stdout


def test_a_shell_completes_commands_options_and_choices():
    def completed(words):
        count = str(len(words.split(" ")) - 1)
        asked = {"_XSHEET_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": count}
        named = [sys.executable, "-c", "import sys; sys.argv[0] = 'xsheet'; from xsheet.cli import main; main()"]
        return subprocess.run(named, env=os.environ | asked, capture_output=True, text=True, check=False).stdout.split()

    assert completed("xsheet cur") == ["curate"]
    assert "--until" in completed("xsheet run --u")
    assert completed("xsheet run videos --until a") == ["annotate", "audit"]


def on_a_terminal(*arguments, **environment):
    """What a command says where both its outputs are a terminal."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    subprocess.run(
        [*COMMAND, *arguments], stdout=theirs, stderr=theirs, check=False, env={**clean, "TERM": "xterm", **environment}
    )
    os.close(theirs)
    output = os.read(ours, 1 << 16).decode()
    os.close(ours)
    return output


def test_colours_are_for_terminals_that_want_them(tmp_path):
    wrong = ("schemas", "check", str(tmp_path))
    assert "\x1b[31m" in on_a_terminal(*wrong)
    assert "\x1b[3" not in on_a_terminal(*wrong, NO_COLOR="1")
    assert "\x1b" not in xsheet(*wrong).stderr


def test_a_library_that_is_missing_is_one_line():
    code = "import sys; sys.modules['pyarrow'] = None; from xsheet.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", code, "schemas", "show"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "pyarrow is not installed; run `xsheet doctor`" in ran.stderr


def test_a_fault_of_ours_is_one_line_that_says_where():
    code = (
        "import xsheet.schemas.sets as check; check.check_set = lambda *_, **__: 1 / 0;"
        "from xsheet.cli import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, "schemas", "check", "."], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "ZeroDivisionError at" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("schemas", "chekc"), "Did you mean"),
        (("schemas", "show", "clip"), "did you mean 'clips'"),
        (("demo", "corpus"), "Missing option '--out'"),
        (("demo", "--films", "0"), "--films"),
        (("demo", "--films", "many"), "--films"),
        (("curate", "run", "nowhere", "--out", "set"), "no such path"),
        (("run", "nowhere", "--out", "set"), "no such path"),
        (("run", ".", "--out", "set", "--until", "never"), "'never' is not one of"),
        (("run", ".", "--out", "set", "--set", "curat.face.min_height_px=3"), "did you mean 'curate'?"),
        (
            ("run", ".", "--out", "set", "--set", "audit.gate.max_mised=3"),
            "did you mean 'gate.max_missed_motion_share'?",
        ),
        (("curate", "run", "."), "Missing option '--out'"),
        (("curate", "estimate", "--preset", "kep"), "expected one of all, keep, stage2_motion, train"),
        (("curate", "estimate", "--set", "face.min_hight_px=3"), "did you mean 'face.min_height_px'"),
        (("models", "pull", "facelandmarker"), "expected one of face-landmarker.task"),
        (("demo", "--height", "255", "--films", "1", "--out", "never-made"), "multiple of 2"),
    ],
)
def test_bad_usage_says_what_was_meant(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 2 or isinstance(ran.exception, ConfigError)
    shown = ran.stderr if ran.exit_code == 2 else str(ran.exception)
    assert message in " ".join(shown.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("demo", "corpus"), ("curate", "run", "nowhere", "--out", "set")])
def test_bad_usage_exits_2_without_a_traceback(arguments, tmp_path):
    ran = xsheet(*arguments, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_folder_that_is_no_set_is_one_line_and_exit_1(tmp_path):
    ran = xsheet("schemas", "check", str(tmp_path))
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1)
    assert "no set.json" in ran.stderr


def test_debug_shows_the_traceback_wherever_it_stands(tmp_path):
    assert "Traceback" in xsheet("schemas", "check", str(tmp_path), "--debug").stderr
    assert "Traceback" in xsheet("--debug", "schemas", "check", str(tmp_path)).stderr


def test_problems_of_a_set_exit_1(tmp_path):
    create_set(tmp_path / "s", "s")
    assert CliRunner().invoke(app, ["schemas", "check", str(tmp_path / "s")]).exit_code == 0
    tables.part_path(tmp_path / "s", tables.SHOTS, 0).parent.mkdir()
    tables.part_path(tmp_path / "s", tables.SHOTS, 0).write_bytes(b"broken")
    ran = xsheet("schemas", "check", str(tmp_path / "s"), "--json")
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["violations"][0]["table"] == "shots"


def test_json_is_the_only_output_on_stdout():
    assert [t["table"] for t in json.loads(xsheet("schemas", "show", "--json").stdout)] == [
        t.name for t in tables.TABLES
    ]
    of_one = CliRunner().invoke(app, ["schemas", "show", "shots", "--json"])
    assert json.loads(of_one.stdout)["version"] == "1.0"


def test_upgrade_of_a_current_set_changes_nothing(tmp_path):
    create_set(tmp_path, "s")
    tables.write_table(tmp_path, tables.SOURCES, [SourceVideo(source_id="a", path="p", status="ok")])
    upgrade = ["schemas", "upgrade", str(tmp_path)]
    assert "0 of 1 files were upgraded" in CliRunner().invoke(app, upgrade).stdout
    assert "0 of 1 files would be" in CliRunner().invoke(app, [*upgrade, "--dry-run"]).stdout


def test_a_dry_run_makes_nothing(tmp_path):
    ran = xsheet("demo", "--films", "5", "--dry-run", cwd=tmp_path)
    assert ran.returncode == 0
    assert "5 films" in ran.stderr
    assert not list(tmp_path.iterdir())


def test_a_dry_run_of_the_path_names_every_step_and_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a film.mp4").write_bytes(b"0" * 1_000_000)
    (tmp_path / "settings.yaml").write_text("curate: {face: {min_height_px: 99}}\nsplit: {val: 0.2}\n")
    planned = ("run", ".", "--out", "set", "--config", "settings.yaml", "--until", "train", "--dry-run", "--json")
    plan = json.loads(CliRunner().invoke(app, planned).stdout)
    assert (plan["inputs"], plan["bytes"]) == (1, 1_000_000)
    assert [step["step"] for step in plan["steps"]][-3:] == ["cache", "stage1", "stage2"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_the_doctor_finds_what_is_there_and_what_is_missing(tmp_path):
    create_set(tmp_path / "s", "s")
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "models" / "mine" / "config.json").write_text('{"_class_name": "AutoencoderKLWan"}')
    (tmp_path / "models" / "yamnet.tflite").write_bytes(b"not it")
    ran = xsheet("doctor", "s", "--models", "models", "--json", cwd=tmp_path)
    found = {(one["section"], one["name"]): one for one in json.loads(ran.stdout)["diagnoses"]}
    assert ran.returncode == 0
    assert found["libraries", "encoders"]["state"] == "ok"
    assert found["models", "mine"]["detail"] == "AutoencoderKLWan"
    assert found["models", "yamnet.tflite"]["state"] == "warning"
    assert found["models", "sync"]["detail"] == "built-in scorer"
    assert found["set", "s"]["state"] == "ok"


def test_the_doctor_exits_1_where_the_set_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("xsheet.doctor.COMPILED", ("av",))  # the others take seconds
    ran = CliRunner().invoke(app, ["doctor", str(tmp_path / "nowhere"), "--json"])
    assert ran.exit_code == 1
    assert [one["state"] for one in json.loads(ran.stdout)["diagnoses"] if one["section"] == "set"] == ["broken"]


@pytest.mark.slow
def test_the_doctor_survives_a_library_that_ends_the_process(tmp_path):
    (tmp_path / "cv2.py").write_text("import os; os.abort()")
    ran = xsheet("doctor", cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert ran.returncode == 1
    assert "broken: cv2: the process crashes when it is imported" in ran.stdout


def test_the_doctor_calls_a_slow_import_slow_and_not_broken(monkeypatch):
    from xsheet import doctor

    monkeypatch.setattr(doctor, "_IMPORT_TIMEOUT_S", 0.01)
    found = list(doctor._compiled(doctor._start_python("import time; time.sleep(60)")))
    assert [one.state for one in found] == ["warning"]


def test_text_of_strangers_cannot_steer_the_terminal(capsys):
    from xsheet.cli.show import print_table

    print_table("t", ("file",), [("\x1b[2J\x1b]0;owned\x07[red]x[/red]\u202egpm.exe\nsecond line",)])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]x[/red]" in shown


def test_an_id_stays_on_one_line_of_a_table_however_long_its_neighbours(capsys, monkeypatch):
    from xsheet.cli.show import print_table

    monkeypatch.setenv("COLUMNS", "60")
    clip = "clip_2fbd87fbdcc372aab8ea"
    print_table("t", ("file", "clip", "why"), [("a long file name.mp4" * 3, clip, "a long reason " * 4)])
    assert clip in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_the_same_command_goes_on(tmp_path):
    arguments = ("demo", "corpus", "--out", "my films", "--films", "4", "--height", "128", "--jobs", "2")
    running = subprocess.Popen([*COMMAND, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("my films/videos/[0-9]*.mp4"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    output = running.communicate(timeout=10)[1]
    assert running.returncode == 130
    assert "run the same command again" in output
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("my films/videos/[0-9]*.mp4")}
    assert xsheet(*arguments, cwd=tmp_path).returncode == 0
    films = {p: p.stat().st_mtime_ns for p in (tmp_path / "my films" / "videos").iterdir()}
    assert len(films) == 4
    # At most the two in hand are made again: a film may be written and not yet committed.
    assert sum(films[p] == t for p, t in before.items()) >= len(before) - 2


@pytest.mark.nightly
def test_the_demo_runs_and_a_second_run_keeps_what_is_there(tmp_path):
    first = xsheet("demo", "--films", "2", "--height", "128", "--json", cwd=tmp_path)
    assert first.returncode == 1  # films of this size are too small to keep a clip
    assert "curation kept no clip" in first.stderr
    summary = json.loads(first.stdout)
    assert (summary["counts"]["sources"], summary["counts"]["sources_failed"]) == (2, 0)
    assert (tmp_path / summary["page"]).read_text(encoding="utf-8").startswith("<!")
    films = {p: p.stat().st_mtime_ns for p in (tmp_path / summary["corpus"] / "videos").iterdir()}
    assert xsheet("schemas", "check", summary["set"], cwd=tmp_path).returncode == 0
    assert xsheet("demo", "--films", "2", "--height", "128", "--json", cwd=tmp_path).returncode == 1
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / summary["corpus"] / "videos").iterdir()} == films


def test_the_package_runs_as_a_module():
    ran = subprocess.run([sys.executable, "-m", "xsheet", "--help"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert "curate" in ran.stdout


@pytest.mark.parametrize("verb", [("train", "run", "set"), ("train", "prior", "set"), ("set", "pack", "set")])
def test_an_output_that_takes_no_url_says_so_and_makes_no_folder_of_that_name(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, [*verb, "--out", "s3://bucket/out"])
    assert isinstance(ran.exception, ConfigError)
    assert "--out: expected a folder or file on this machine, got s3://bucket/out" in str(ran.exception)
    assert not list(tmp_path.iterdir())
