"""Prompts: versioned text files with front matter, rendered strictly and hashed; untrusted text is quoted.

x
"""

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml
from jinja2 import Environment, StrictUndefined, TemplateError, meta
from pydantic import ValidationError

from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import Readable, SettingsLoader, StrictModel

_FILE = re.compile(r"---\n(?P<front>.*?\n)---\n(?P<system>.*?)\n=== user ===\n(?P<user>.*)", re.DOTALL)
# Characters that markup, fences and the control tokens of chat models (<|im_end|>, [INST], <think>) are made of.
_MARKUP = frozenset("<>[]{}|`#=")


class FrontMatter(StrictModel):
    """Front matter of a prompt file."""

    id: str
    version: str
    purpose: str


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One prompt file."""

    front_matter: FrontMatter
    system: str
    user: str
    text: str  # the whole file; the hash covers it

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def render(self, **variables: object) -> tuple[str, str]:
        """Render the system and the user text.

        Raises:
            ConfigError: a variable of the prompt is missing, or an unknown one was passed.
        """
        environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        expected = meta.find_undeclared_variables(environment.parse(self.system + self.user))
        if expected != set(variables):
            raise self._error(f"the variables {sorted(expected)}", f"{sorted(variables)}")
        try:
            system, user = (environment.from_string(part).render(variables) for part in (self.system, self.user))
        except TemplateError as error:
            raise self._error("a template that renders", str(error)) from error
        return system.strip(), user.strip()

    def _error(self, expected: str, got: str) -> ConfigError:
        return ConfigError(
            where=f"prompt {self.front_matter.id!r} version {self.front_matter.version}",
            expected=expected, got=got, hint="correct the prompt file or its variables",
        )  # fmt: skip


def load_prompt(name: Literal["describe", "segment"]) -> PromptTemplate:
    """A prompt of the package."""
    return read_prompt(files("xsheet.annotate") / "prompts" / f"{name}.md", where=f"prompt {name!r}")


def read_prompt(file: Readable, *, where: str) -> PromptTemplate:
    """Read a prompt file.

    Raises:
        ConfigError: no front matter, an unknown or missing key in it, or no user part.
    """
    text = file.read_text(encoding="utf-8")
    parts = _FILE.fullmatch(text)
    try:
        if parts is None:
            raise ValueError("no front matter or no user part")
        front_matter = FrontMatter.model_validate(yaml.load(parts["front"], SettingsLoader))
    except (ValueError, ValidationError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(
            where=where,
            expected="front matter (id, version, purpose) between ---, system text, a line '=== user ===', user text",
            got=" ".join(str(error).split()),
            hint="start from a prompt of the package",
        ) from error
    return PromptTemplate(front_matter=front_matter, system=parts["system"], user=parts["user"], text=text)


def quote_untrusted(text: str, *, max_chars: int) -> str:
    """Quote untrusted text as a JSON string that cannot close its quotes, open markup, or form a control token.

    Markup characters, line breaks and invisible characters are escaped; the text is truncated to `max_chars`.
    """
    truncated = text if len(text) <= max_chars else text[:max_chars] + "…"
    return '"' + "".join(_escape(character) for character in truncated) + '"'


def _escape(character: str) -> str:
    if character in _MARKUP:
        return f"\\u{ord(character):04x}"
    is_invisible = unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
    return json.dumps(character, ensure_ascii=is_invisible)[1:-1]
