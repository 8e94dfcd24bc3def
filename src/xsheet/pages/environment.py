"""One Jinja environment for all pages.

File names, texts and messages on a page are untrusted. Every value is escaped, control and direction-changing
characters are written as escapes, and an undefined variable is an error.
"""

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from xsheet.pages.wording import (
    css_percent,
    format_count,
    format_duration,
    format_hours,
    format_percent,
    format_seconds,
    printable,
    readable,
)

KIT = "xsheet.pages"
_FILTERS: Mapping[str, Callable[..., str]] = {
    "count": format_count,
    "css_percent": css_percent,
    "duration": format_duration,
    "hours": format_hours,
    "percent": format_percent,
    "readable": readable,
    "seconds": format_seconds,
}


def page_environment(
    package: str, *, filters: Mapping[str, Callable[..., Any]] | None = None, variables: Mapping[str, Any] | None = None
) -> Environment:
    """Templates of a package and of the kit; the variable `css` holds the kit's style followed by the package's.

    Args:
        package: dotted name of the package with page.html and page.css.
        filters: filters beside those of the kit.
        variables: variables of all templates, also of imported macros.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_sanitise,
        trim_blocks=True,
        loader=FunctionLoader(lambda name: _template(package, name)),
    )
    environment.filters |= {**_FILTERS, **(filters or {})}
    css = read_resource(KIT, "style.css") + read_resource(package, "page.css")
    environment.globals |= {"css": Markup(css), **(variables or {})}
    return environment


def read_resource(package: str, name: str) -> str:
    """Text of a file that is installed with a package."""
    return (files(package) / name).read_text(encoding="utf-8")


def json_for_script(value: object) -> Markup:
    """JSON that cannot close its script element; ValueError for NaN and infinity, which JSON lacks."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Markup(text)


def _template(package: str, name: str) -> str | None:
    """The package's own template, else the kit's."""
    for owner in (package, KIT):
        if (files(owner) / name).is_file():
            return read_resource(owner, name)
    return None


def _sanitise(value: object) -> object:
    """Replace control characters of every value before it is escaped, because escaping keeps them."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
