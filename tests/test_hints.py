"""Hints of errors: every setting that they name exists."""

import ast
import re
import typing

import pytest
from pydantic import BaseModel

from xsheet.annotate.settings import AnnotateSettings
from xsheet.audit.settings import AuditSettings
from xsheet.curate.settings import CurateSettings
from xsheet.train.settings import TrainSettings

PARTS = ("curate", "annotate", "audit", "train", "export", "model", "src/xsheet/runtime", "src/xsheet/cli")
SETTING = re.compile(r"\b(analysis|cache|loader|compute|loop|qwen|endpoint|vlm)((?:\.[a-z][a-z0-9_]*)+)(?![\w./])")


def setting_paths(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        found.add(prefix + name)
        kinds = [field.annotation]
        while kinds:
            kind = kinds.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= setting_paths(kind, f"{prefix}{name}.")
            kinds += typing.get_args(kind)
    return found


def hints(path):
    """(line, text) of every `hint` argument and variable, with the placeholders of f-strings left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        is_argument = isinstance(node, ast.keyword) and node.arg == "hint"
        is_variable = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "hint"
        if is_argument or is_variable:
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


@pytest.mark.slow
def test_every_setting_that_a_hint_names_exists(root):
    known = set().union(*map(setting_paths, (CurateSettings, AnnotateSettings, AuditSettings, TrainSettings)))
    named = [
        (f"{path.relative_to(root)}:{line}", match.group())
        for part in PARTS
        for path in sorted((root / part).rglob("*.py"))
        for line, text in hints(path)
        for match in SETTING.finditer(text)
    ]
    assert len(named) > 10
    assert not [(place, name) for place, name in named if name not in known]
