"""Hooks of mkdocs: add the pages of the repository root and one API page per module to the site.

Links are written for a reader of the repository. On the site, a link to a page leads to that page, a link to a module
to its API page; of a link to a file that the site does not have, only the text stays.
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
ROOT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_SOURCE = re.compile(r'(?P<before>\b(?:src|href)=")(?P<target>[^"]+)"')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the modules and the decisions into the navigation."""
    decisions = sorted(page.relative_to(DOCS).as_posix() for page in (DOCS / "decisions").glob("*.md"))
    decisions.sort(key=lambda page: not page.endswith("README.md"))
    pages = ["api/index.md", "api/xsheet.md", *_tree("xsheet")]
    filled: dict[str, list[Any]] = {"decisions/": decisions, "api/": pages}
    config.nav = [{name: filled.get(page, page) if isinstance(page, str) else page for name, page in entry.items()}
                  for entry in config.nav or []]  # fmt: skip
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, "api/index.md", content=_overview()))
    for module in modules():
        files.append(File.generated(config, f"api/{module}.md", content=f"---\ntitle: {module}\n---\n\n::: {module}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links within the repository into links within the site."""
    source_page = page.file.src_uri
    if source_page.startswith("api/"):
        return markdown
    root_files = {site: name for name, site in ROOT_PAGES.items()}
    folder = ROOT if source_page in root_files else (DOCS / source_page).parent

    def link(match: re.Match[str]) -> str:
        target = site_target(match["target"], folder, source_page)
        if target is None:
            return match["text"]
        return f"{match['image']}[{_LINK.sub(link, match['text'])}]({target})"

    def source(match: re.Match[str]) -> str:
        return f'{match["before"]}{site_target(match["target"], folder, source_page) or match["target"]}"'

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _SOURCE.sub(source, _LINK.sub(link, part)) for part in parts)


def site_target(target: str, folder: Path, source_page: str) -> str | None:
    """Site target of a link in a page of `folder`, relative to `source_page`; None if the site has no such file."""
    path, hash_, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return target
    linked = Path(os.path.normpath(folder / path))
    if linked.is_dir() and (linked / "README.md").is_file() and linked.is_relative_to(DOCS):
        linked /= "README.md"
    if linked.is_relative_to(DOCS) and linked.is_file() and linked.suffix != ".py":
        site = linked.relative_to(DOCS).as_posix()
    elif linked.parent == ROOT and linked.name in ROOT_PAGES:
        site = ROOT_PAGES[linked.name]
    elif (module := _module_of(linked)) in modules():
        site, hash_, anchor = f"api/{module}.md", "", ""
    else:
        return None
    return os.path.relpath(site, os.path.dirname(source_page) or ".") + hash_ + anchor  # noqa: PTH120


def _module_of(path: Path) -> str:
    under = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path.relative_to(ROOT)
    return ".".join(("xsheet", *under.with_suffix("").parts)).removesuffix(".__init__")


@cache
def modules() -> tuple[str, ...]:
    """Dotted names of all modules, packages first; the parts are links in src/xsheet."""
    names = {"xsheet"}
    for folder, folders, files in os.walk(PACKAGE, followlinks=True):
        folders[:] = sorted(name for name in folders if (Path(folder) / name / "__init__.py").is_file())
        dotted = ".".join(("xsheet", *Path(folder).relative_to(PACKAGE).parts))
        names |= {f"{dotted}.{file.removesuffix('.py')}" for file in files if file.endswith(".py")}
    return tuple(sorted({name.removesuffix(".__init__") for name in names}))


def _tree(package: str) -> list[Any]:
    """Navigation entries below a package."""
    depth = package.count(".") + 1
    below = [name for name in modules() if name.startswith(f"{package}.") and name.count(".") == depth]
    packages = {name for name in below if any(other.startswith(f"{name}.") for other in modules())}
    return [
        {name.split(".")[-1]: [f"api/{name}.md", *_tree(name)] if name in packages else f"api/{name}.md"}
        for name in sorted(below, key=lambda name: name not in packages)
    ]


def _overview() -> str:
    """A line per module: the first paragraph of its docstring."""
    lines = ["# API", "", "Every module, with the first paragraph of its docstring.", ""]
    for module in modules():
        indent = "    " * (module.count(".") - 1) if "." in module else ""
        lines.append(f"{indent}* [`{module}`]({module}.md): {_first_line(module)}")
    return "\n".join(lines) + "\n"


def _first_line(module: str) -> str:
    inside = PACKAGE.joinpath(*module.split(".")[1:])
    file = inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return doc.split("\n\n")[0].replace("\n", " ").replace("<", "&lt;")
