"""Rules of the house that a reader relies on: who imports whom, what an import does, what an installation holds."""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
import zipfile
from collections import Counter, defaultdict
from functools import cache

import pytest

PARTS = ("schemas", "curate", "annotate", "audit", "model", "train", "export", "demo")
# What of ours a part may import; `xsheet.cli` may import all inside its verbs. `execute` is the outer shell that
# carries a task over many items, `__version__` belongs into keys and runs.
SHELL = {"runtime", "pages", "__version__", "torchvision_compat"}
ALLOWED = {
    "schemas": {"schemas"},
    "model": {"model", "schemas", "torchvision_compat"},
    "curate": {"curate", "schemas"} | SHELL,
    "annotate": {"annotate", "curate", "schemas"} | SHELL,
    "audit": {"audit", "annotate", "curate", "schemas"} | SHELL,
    "train": {"train", "model", "schemas", "curate", "annotate"} | SHELL,
    "export": {"export", "annotate", "curate", "schemas"} | SHELL,
    "demo": {"demo", "schemas", "curate", "annotate", "audit", "model", "train", "workflow"} | SHELL,
}
SCHEMAS_LIBRARIES = {"pydantic", "pyarrow", "yaml"}
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc"}


def modules(root, part):
    return [p for p in sorted((root / part).rglob("*.py")) if "__pycache__" not in p.parts]


@cache
def nodes(path):
    """The syntax tree of a file."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def dotted(node):
    """The text of a name such as `torch.load`; empty for another expression."""
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return owner and f"{owner}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@cache
def imports(path):
    """(line, dotted module) of every import in a file, also the lazy ones."""
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            ours = node.module == "xsheet"
            found += [(node.lineno, f"xsheet.{a.name}") for a in node.names] if ours else [(node.lineno, node.module)]
    return found


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_only_the_parts_it_may(root, part):
    wrong = [
        f"{path.relative_to(root)}:{line} imports {name}"
        for path in modules(root, part)
        for line, name in imports(path)
        if name.startswith("xsheet.") and name.split(".")[1] not in ALLOWED[part]
    ]
    assert not wrong


def test_schemas_needs_the_standard_library_pydantic_pyarrow_and_yaml_only(root):
    found = {name.split(".")[0] for path in modules(root, "schemas") for _, name in imports(path)}
    assert found - sys.stdlib_module_names - {"xsheet"} <= SCHEMAS_LIBRARIES


def test_ray_stands_only_in_its_process_and_the_training_launcher(root):
    allowed = {root / "src/xsheet/runtime/ray_main.py", root / "train/launch.py"}
    wrong = [
        str(path.relative_to(root))
        for folder in (*PARTS, "src/xsheet")
        for path in modules(root, folder)
        if path not in allowed and not path.is_symlink()
        if any(name.split(".")[0] == "ray" for _, name in imports(path))
    ]
    assert not wrong


def test_the_decoder_stands_only_in_curate_media(root):
    wrong = [
        str(path.relative_to(root))
        for part in PARTS
        for path in modules(root, part)
        if any(name.split(".")[0] == "av" for _, name in imports(path))
        if not path.is_relative_to(root / "curate" / "media")
    ]
    assert not wrong


def test_nothing_is_called_utils_helpers_common_or_misc(root):
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert not [name for name in tracked.split() if DRAWERS & {part.split(".")[0] for part in name.split("/")}]


def test_no_module_is_longer_than_500_lines(root):
    found = {str(p): len(p.read_text().splitlines()) for part in (*PARTS, "src/xsheet") for p in modules(root, part)}
    assert not {name: lines for name, lines in found.items() if lines > 500}


MAX_MODULES = 14


def test_a_folder_holds_at_most_a_dozen_modules_or_so(root):
    paths = (path for part in (*PARTS, "src/xsheet") for path in modules(root, part))
    counts = Counter(path.parent for path in paths if path.name != "__init__.py")
    assert not {str(folder.relative_to(root)): count for folder, count in counts.items() if count > MAX_MODULES}


def test_a_class_name_occurs_once_in_the_tree(root):
    places = defaultdict(list)
    for part in (*PARTS, "src/xsheet"):
        for path in modules(root, part):
            if any(folder.is_symlink() for folder in path.parents):
                continue
            for node in nodes(path):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(str(path.relative_to(root)))
    assert not {name: paths for name, paths in places.items() if len(paths) > 1}


# A pickle runs what it holds. These read what this program itself sent: a pipe, rows in Ray's memory, and one published
# file whose hash is checked and of which only tensors are read.
READERS_OF_PICKLES = {
    "src/xsheet/runtime/ray_main.py": {"pickle.loads"},
    "src/xsheet/runtime/worker_main.py": {"pickle.loads"},
    "curate/sync/network_weights.py": {"torch.load(weights_only=True)"},
}


def test_no_file_is_unpickled(root):
    found = defaultdict(set)
    for part in (*PARTS, "src/xsheet"):
        for path in modules(root, part):
            if any(folder.is_symlink() for folder in path.parents):
                continue
            for node in nodes(path):
                if not isinstance(node, ast.Call):
                    continue
                name = dotted(node.func)
                words = [f"{word.arg}={ast.unparse(word.value)}" for word in node.keywords if name.endswith("load")]
                if name in ("torch.load", "np.load", "joblib.load", "pd.read_pickle"):
                    kept = [word for word in words if word.split("=")[0] in ("weights_only", "allow_pickle")]
                    found[str(path.relative_to(root))].add(f"{name}({', '.join(kept)})")
                elif name.split(".")[0] in ("pickle", "dill", "shelve", "marshal") and name.split(".")[-1] != "dumps":
                    found[str(path.relative_to(root))].add(name)
    assert dict(found) == READERS_OF_PICKLES


def test_json_is_decoded_in_one_place_that_knows_deep_nesting(root):
    """json.loads raises RecursionError for a nested document, which no reader of damaged files expects."""
    paths = [path for part in (*PARTS, "src/xsheet") for path in modules(root, part)]
    found = {path.resolve() for path in paths if re.search(r"json\.loads?\(", path.read_text(encoding="utf-8"))}
    assert found == {(root / "schemas/files.py").resolve()}


def test_tables_are_read_in_the_one_place_that_names_a_damaged_file(root):
    paths = [path for part in (*PARTS, "src/xsheet") for path in modules(root, part)]
    found = {path.resolve() for path in paths if re.search(r"pq\.(read|Parquet)", path.read_text(encoding="utf-8"))}
    assert found == {(root / file).resolve() for file in ("schemas/tables.py", "curate/manifest.py")}


PRIVATE_LANGUAGE = {"said", "told", "heard", "wish", "walked", "befell", "cries"}


def test_no_identifier_speaks_a_private_language(root):
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=root, capture_output=True, text=True, check=True).stdout
    wrong = []
    for name in tracked.split():
        text = (root / name).read_text(encoding="utf-8")
        if not any(word in text.lower() for word in PRIVATE_LANGUAGE):
            continue
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME and PRIVATE_LANGUAGE & set(token.string.lower().split("_")):
                wrong.append(f"{name}:{token.start[0]} {token.string}")
    assert not wrong


def test_nothing_refers_to_a_section_of_a_document_that_is_not_here(root):
    kinds = ("*.py", "*.md", "*.html", "*.js", "*.yaml")
    tracked = subprocess.run(["git", "ls-files", *kinds], cwd=root, capture_output=True, text=True, check=True).stdout
    found = [
        name
        for name in tracked.split()
        if name not in ("tests/test_house.py", "tests/test_pages.py")
        and "§" in (root / name).read_text(encoding="utf-8")
    ]
    assert not found


@pytest.mark.parametrize("part", PARTS)
def test_a_bare_import_says_what_to_write(root, part):
    ran = subprocess.run(
        [sys.executable, "-c", f"import {part}"], cwd=root, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert f"write 'from xsheet import {part}'" in ran.stderr


@pytest.mark.slow
def test_settings_and_caches_of_training_are_read_without_diffusers():
    """diffusers imports all its models, peft and transformers: ten seconds of CPU in each worker of a cache."""
    code = "import sys, xsheet.workflow, xsheet.train.settings, xsheet.train.data.cache.task; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"diffusers", "transformers", "peft", "torchvision"} & set(loaded)


def test_help_loads_nothing_heavy():
    code = "import sys; from xsheet.cli import app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "pandas", "pyarrow", "pydantic", "av", "cv2", "ray", "torch", "mediapipe", "rich.console", "yaml"}
    assert not heavy & set(loaded)


LOOK = """
import importlib, logging, os, socket, sys
def refuse(*_, **__): raise AssertionError("an import opened a socket")
socket.socket.connect = refuse
seen = []
class Watched(dict):
    def __getitem__(self, key): seen.append(key); return super().__getitem__(key)
    def get(self, key, default=None): seen.append(key); return super().get(key, default)
names = sys.argv[1:]
import {warm}
handlers = len(logging.getLogger().handlers)
os.environ = Watched(os.environ)
for name in names: importlib.import_module(name)
assert len(logging.getLogger().handlers) == handlers, "an import added a log handler"
ours = [key for key in seen if "XSHEET" in str(key)]
assert not ours, f"an import read {{ours}}"
assert "torch" not in sys.modules or not sys.modules["torch"].cuda.is_initialized()
"""


@pytest.mark.slow  # every library of every part is loaded
def test_an_import_does_nothing_but_define(root):
    names = [
        ".".join(("xsheet", part, *path.relative_to(root / part).with_suffix("").parts)).removesuffix(".__init__")
        for part in PARTS
        for path in modules(root, part)
    ]
    code = LOOK.format(warm="numpy, pyarrow, pydantic, av, cv2")
    ran = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.slow
def test_a_wheel_installs_xsheet_and_nothing_else(root, tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."]
    copy = tmp_path / "copy"
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in filter(None, tracked):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_symlink():
            (copy / name).symlink_to((root / name).readlink())
        elif (root / name).is_file():
            (copy / name).write_bytes((root / name).read_bytes())
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"xsheet"}
    assert "xsheet/schemas/tables.py" in names
    for part in PARTS:
        for path in modules(root, part):
            assert f"xsheet/{path.relative_to(root)}" in names
    assert not [name for name in names if "tests/" in name or "shared" in name]


def test_links_to_the_parts_are_relative(root):
    for part in PARTS:
        assert str((root / "src" / "xsheet" / part).readlink()) == f"../../{part}"


def test_constraints_pin_every_requirement(root):
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(r for extra in extras.values() for r in extra)]
    pinned = {
        line.split("==")[0].lower() for line in (root / "constraints.txt").read_text().splitlines() if "==" in line
    }
    names = {requirement.split(">")[0].split("=")[0].split("[")[0].lower() for requirement in wanted}
    assert not names - pinned - {"xsheet"}


def test_an_extra_is_installed_from_a_clone_everywhere(root):
    import tomllib

    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    kinds = ("*.py", "*.md", "*.html", "*.js", "*.yaml", ":!tests")
    tracked = subprocess.run(["git", "ls-files", *kinds], cwd=root, capture_output=True, text=True, check=True).stdout
    texts = {name: (root / name).read_text(encoding="utf-8") for name in tracked.split()}
    legal = re.compile(rf'pip install -c constraints\.txt "\.\[({"|".join(extras)})\]"')
    pages = {name: legal.subn("", text) for name, text in texts.items() if name.endswith(".md")}
    code = {name: (text, 0) for name, text in texts.items() if name not in pages}
    other = [name for name, (text, _) in (pages | code).items() if re.search(r"xsheet\[|pip3? install.*\.\[", text)]
    assert other == ["schemas/errors.py"]  # errors take it from there
    assert sum(count for _, count in pages.values()) > 4


def test_nothing_names_a_machine(root):
    kinds = ("*.py", "*.md", "*.toml", "*.yaml", "*.txt", "Makefile", ".ci")
    tracked = subprocess.run(["git", "ls-files", *kinds], cwd=root, capture_output=True, text=True, check=True).stdout
    words = tuple(f"/{top}/" for top in ("root", "work", "home"))
    found = [name for name in tracked.split() if any(w in (root / name).read_text(encoding="utf-8") for w in words)]
    assert not found


def test_golden_dumps_are_json_and_belong_to_a_table(root):
    from xsheet.schemas.tables import TABLES

    files = {path.stem: json.loads(path.read_text()) for path in (root / "tests/golden/schemas").glob("*.json")}
    assert set(files) == {table.name for table in TABLES}


def test_the_docstring_of_a_folder_lists_its_modules(root):
    missing = []
    for part in (*PARTS, "src/xsheet"):
        for path in sorted((root / part).rglob("__init__.py")):
            if any(folder.is_symlink() for folder in path.parents):
                continue
            lines = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()
            listed = {word.strip(",/") for line in lines for word in re.split(r"\s{2,}", line)[0].split()}
            modules = {one.stem for one in path.parent.glob("[a-z]*.py")}
            modules |= {one.parent.name for one in path.parent.glob("*/__init__.py") if not one.parent.is_symlink()}
            missing += [f"{path.relative_to(root)} does not list {name}" for name in sorted(modules - listed)]
    assert not missing
