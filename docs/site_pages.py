"""What the site has beside docs/: the pages of the root, and one page per module of the API; `mkdocs.yml` calls this.

Links are written for a reader of the repository. On the site, one to a page leads to that page, one to a module to its
page of the API; one to a file that the site does not have keeps its words only.
"""

import ast
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "xsheet"
OF_ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_LINK = re.compile(r"(?P<image>!?)\[(?P<words>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_SOURCE = re.compile(r'(?P<before>\b(?:src|href)=")(?P<target>[^"]+)"')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the modules and the decisions into the navigation."""
    decisions = sorted(page.relative_to(DOCS).as_posix() for page in (DOCS / "decisions").glob("*.md"))
    decisions.sort(key=lambda page: not page.endswith("README.md"))
    pages = ["api/index.md", "api/xsheet.md", *_tree("xsheet")]
    filled: dict[str, list[Any]] = {"decisions/": decisions, "api/": pages}
    config.nav = [{name: filled.get(what, what) if isinstance(what, str) else what for name, what in entry.items()}
                  for entry in config.nav or []]  # fmt: skip
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    for name, page in OF_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, "api/index.md", content=_overview()))
    for module in modules():
        files.append(File.generated(config, f"api/{module}.md", content=f"---\ntitle: {module}\n---\n\n::: {module}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of the repository into those of the site."""
    here = page.file.src_uri
    if here.startswith("api/"):
        return markdown
    of_root = {site: name for name, site in OF_ROOT.items()}
    folder = ROOT if here in of_root else (DOCS / here).parent

    def link(found: re.Match[str]) -> str:
        target = site_target(found["target"], folder, here)
        if target is None:
            return found["words"]
        return f"{found['image']}[{_LINK.sub(link, found['words'])}]({target})"

    def source(found: re.Match[str]) -> str:
        return f'{found["before"]}{site_target(found["target"], folder, here) or found["target"]}"'

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _SOURCE.sub(source, _LINK.sub(link, part)) for part in parts)


def site_target(target: str, folder: Path, here: str) -> str | None:
    """Where a link of a page in `folder` leads on the site, from page `here`; None where the site has no such file."""
    path, hash_, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return target
    there = Path(os.path.normpath(folder / path))
    if there.is_dir() and (there / "README.md").is_file() and there.is_relative_to(DOCS):
        there /= "README.md"
    if there.is_relative_to(DOCS) and there.is_file() and there.suffix != ".py":
        site = there.relative_to(DOCS).as_posix()
    elif there.parent == ROOT and there.name in OF_ROOT:
        site = OF_ROOT[there.name]
    elif (module := _module_of(there)) in modules():
        site, hash_, anchor = f"api/{module}.md", "", ""
    else:
        return None
    return os.path.relpath(site, os.path.dirname(here) or ".") + hash_ + anchor  # noqa: PTH120


def _module_of(path: Path) -> str:
    under = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path.relative_to(ROOT)
    return ".".join(("xsheet", *under.with_suffix("").parts)).removesuffix(".__init__")


@cache
def modules() -> tuple[str, ...]:
    """Every module with its dotted name, packages first; the parts are links in src/xsheet."""
    found = {"xsheet"}
    for folder, folders, names in os.walk(PACKAGE, followlinks=True):
        folders[:] = sorted(name for name in folders if (Path(folder) / name / "__init__.py").is_file())
        dotted = ".".join(("xsheet", *Path(folder).relative_to(PACKAGE).parts))
        found |= {f"{dotted}.{name.removesuffix('.py')}" for name in names if name.endswith(".py")}
    return tuple(sorted({name.removesuffix(".__init__") for name in found}))


def _tree(package: str) -> list[Any]:
    """The navigation below a package."""
    depth = package.count(".") + 1
    below = [name for name in modules() if name.startswith(f"{package}.") and name.count(".") == depth]
    packages = {name for name in below if any(other.startswith(f"{name}.") for other in modules())}
    return [
        {name.split(".")[-1]: [f"api/{name}.md", *_tree(name)] if name in packages else f"api/{name}.md"}
        for name in sorted(below, key=lambda name: name not in packages)
    ]


def _overview() -> str:
    """A line per module of the package and its parts: the first of its docstring."""
    lines = ["# API", "", "Every module, with what its docstring says first.", ""]
    for module in modules():
        indent = "    " * (module.count(".") - 1) if "." in module else ""
        lines.append(f"{indent}* [`{module}`]({module}.md): {_first_line(module)}")
    return "\n".join(lines) + "\n"


def _first_line(module: str) -> str:
    inside = PACKAGE.joinpath(*module.split(".")[1:])
    file = inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return doc.split("\n\n")[0].replace("\n", " ").replace("<", "&lt;")
