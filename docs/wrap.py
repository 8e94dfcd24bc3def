"""Wrap the pages at 120 columns; tables, code, HTML and headings are not changed.

python docs/wrap.py           # rewrites
python docs/wrap.py --check   # lists the pages that would change; exit 1 if there are any

Code spans are not broken, and no line begins with text that Markdown reads as a list or a heading.
"""

import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 120
_UNCHANGED = re.compile(r"\||#|<|!\[|\[[^\]]+\]: |---")
_ITEM = re.compile(r"(\s*)([*+-]|\d+[.)])\s+")
_MARKUP = re.compile(r" (?=(?:[-+*>|]|#+|\d+[.)])(?: |$))")  # would change its meaning at the start of a line
_CODE = re.compile(r"`[^`]+`")
_SPACE = "\0"


def wrapped(text: str) -> str:
    """The page with every paragraph and list item wrapped."""
    out: list[str] = []
    block: list[str] = []
    fence = ""
    for line in [*text.split("\n"), ""]:
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if fence or mark:
            out += _filled(block)
            block = []
            out.append(line)
            fence = "" if fence and mark and line.strip() == fence else fence or (mark[1] if mark else "")
        elif not line.strip() or _UNCHANGED.match(line) or (not block and line.startswith("    ")):
            out += [*_filled(block), line]
            block = []
        elif block and _ITEM.match(line):
            out += _filled(block)
            block = [line]
        else:
            block.append(line)
    return "\n".join(out[:-1])


def _filled(block: list[str]) -> list[str]:
    if not block:
        return []
    item = _ITEM.match(block[0])
    first = item[0] if item else re.match(r" *", block[0])[0]  # type: ignore[index]
    words = " ".join(line.strip() for line in [block[0][len(first) :], *block[1:]])
    words = _MARKUP.sub(_SPACE, _CODE.sub(lambda match: match[0].replace(" ", _SPACE), words))
    lines = textwrap.wrap(words, WIDTH, initial_indent=first, subsequent_indent=" " * len(first),
                          break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return [line.replace(_SPACE, " ").rstrip() for line in lines]


def pages() -> list[Path]:
    """All pages except the data contract, which is generated."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(page for page in files if page.name != "data-contract.md")


def main() -> int:
    """Rewrite the pages, or check them with --check."""
    changed = {page: new for page in pages() if (new := wrapped(old := page.read_text(encoding="utf-8"))) != old}
    for page, text in changed.items():
        print(page.relative_to(ROOT))  # noqa: T201
        if "--check" not in sys.argv[1:]:
            page.write_text(text, encoding="utf-8")
    return 1 if changed and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
