"""Prompts: versioned text files with front matter, rendered strictly, hashed; foreign text goes in as inert data.

A prompt file holds `id`, `version` and `purpose` between two lines of `---`, then the system text, a line
`=== user ===`, and the text that stands behind the pictures. Whoever edits one raises its version.
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
from xsheet.schemas.settings import Readable, StrictModel

_FILE = re.compile(r"---\n(?P<front>.*?\n)---\n(?P<system>.*?)\n=== user ===\n(?P<user>.*)", re.DOTALL)
# Characters that markup, fences and the control tokens of chat models (<|im_end|>, [INST], <think>) are made of.
_MARKUP = frozenset("<>[]{}|`#=")


class FrontMatter(StrictModel):
    """What a prompt file says about itself."""

    id: str
    version: str
    purpose: str


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One prompt file."""

    front_matter: FrontMatter
    system: str
    user: str
    text: str  # the whole file, which is what the hash covers

    @property
    def sha256(self) -> str:
        """Hash of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def render(self, **variables: object) -> tuple[str, str]:
        """The system and the user text.

        Raises:
            ConfigError: a variable that the prompt names is missing, or one that it does not name was given.
        """
        environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        named = meta.find_undeclared_variables(environment.parse(self.system + self.user))
        if named != set(variables):
            raise self._error(f"the variables {sorted(named)}", f"{sorted(variables)}")
        try:
            system, user = (environment.from_string(part).render(variables) for part in (self.system, self.user))
        except TemplateError as error:
            raise self._error("a template that renders", str(error)) from error
        return system.strip(), user.strip()

    def _error(self, expected: str, got: str) -> ConfigError:
        return ConfigError(
            where=f"prompt {self.front_matter.id!r} version {self.front_matter.version}",
            expected=expected, got=got, hint="correct the prompt file, or what is handed to it",
        )  # fmt: skip


def load_prompt(name: Literal["describe", "segment"]) -> PromptTemplate:
    """A prompt that is part of the package."""
    return read_prompt(files("xsheet.annotate") / "prompts" / f"{name}.md", where=f"prompt {name!r}")


def read_prompt(file: Readable, *, where: str) -> PromptTemplate:
    """A prompt from a file.

    Raises:
        ConfigError: no front matter, an unknown or missing key in it, or no user part.
    """
    text = file.read_text(encoding="utf-8")
    parts = _FILE.fullmatch(text)
    try:
        if parts is None:
            raise ValueError("another form")
        about = FrontMatter.model_validate(yaml.safe_load(parts["front"]))
    except (ValueError, ValidationError, yaml.YAMLError) as error:
        raise ConfigError(
            where=where,
            expected="front matter (id, version, purpose) between ---, system text, a line '=== user ===', user text",
            got=" ".join(str(error).split()),
            hint="start from a prompt of the package",
        ) from error
    return PromptTemplate(front_matter=about, system=parts["system"], user=parts["user"], text=text)


def quote_untrusted(text: str, *, max_chars: int) -> str:
    """Foreign text as one JSON string that cannot close its quotes, open markup, or form a model's control token.

    Markup characters, line breaks and everything invisible are escaped; what is longer than `max_chars` is cut.
    """
    kept = text if len(text) <= max_chars else text[:max_chars] + "…"
    return '"' + "".join(_escape(character) for character in kept) + '"'


def _escape(character: str) -> str:
    if character in _MARKUP:
        return f"\\u{ord(character):04x}"
    unseen = unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
    return json.dumps(character, ensure_ascii=unseen)[1:-1]
