"""The YAML file that a script page edits, and the form in which the page edits it: integer microseconds.

    file = ScriptFile(Path("nod.yaml"), duration_us=3_200_000)
    script, sha256 = file.read()
    file.write(script, before_sha256=sha256)

Writes are atomic. A file that was changed elsewhere since it was read is not overwritten.
"""

import hashlib
from pathlib import Path

import yaml
from pydantic import Field

from xsheet.annotate.text.wording import describe_action
from xsheet.schemas import vocab
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import write_text
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import US_PER_S
from xsheet.train.sample.script import ActionScript, ScriptPhase
from xsheet.train.sample.script_sources import read_script

SUFFIXES = (".yaml", ".yml")
FIRST_BASE = "A person speaks to the camera."
MAX_US = 3600 * US_PER_S


class DrawnPhase(StrictModel):
    """One timed action as the page draws it."""

    start_us: int = Field(ge=0, le=MAX_US, description="start in µs from the first frame")
    end_us: int = Field(gt=0, le=MAX_US, description="end in µs, half-open")
    text: str = Field(min_length=3, max_length=400, description="the action in plain words")
    track: vocab.Track = Field(description="body part")
    action: vocab.Action = Field(description="action class")
    laterality: vocab.Laterality = Field(description="the subject's own side")


class DrawnScript(StrictModel):
    """A script as the page draws it."""

    base: str = Field(min_length=20, max_length=600, description="what holds for the whole clip")
    speaking: vocab.Speaking = Field(description="speaking style of the subject")
    phases: tuple[DrawnPhase, ...] = Field(max_length=1000, description="timed actions")

    @classmethod
    def of(cls, script: ActionScript) -> "DrawnScript":
        """The form of the page."""
        phases = [
            DrawnPhase(
                start_us=round(one.start_s * US_PER_S), end_us=round(one.end_s * US_PER_S), text=one.text,
                track=one.track, action=one.action, laterality=one.laterality,
            )
            for one in script.phases
        ]  # fmt: skip
        return cls(base=script.base, speaking=script.speaking, phases=tuple(phases))

    def script(self) -> ActionScript:
        """The form of `xsheet train sample`, phases by time."""
        phases = [
            ScriptPhase(
                start_s=one.start_us / US_PER_S, end_s=one.end_us / US_PER_S, text=one.text,
                track=one.track, action=one.action, laterality=one.laterality,
            )
            for one in sorted(self.phases, key=lambda one: (one.start_us, one.end_us))
        ]  # fmt: skip
        return ActionScript(base=self.base, speaking=self.speaking, phases=tuple(phases))


class ChangedElsewhereError(Exception):
    """The file is not the one that the page read or wrote last."""


class ScriptFile:
    """A script in a YAML file, over audio of a known duration."""

    def __init__(self, path: Path, *, duration_us: int, base: str | None = None) -> None:
        """`base` is the base text of a file that does not exist yet.

        Raises:
            ConfigError: the file is no script, has another format, or its phases exceed the audio.
        """
        self.path = path
        self.duration_us = duration_us
        self._first_base = base or FIRST_BASE
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(
                where=str(path), expected=f"a script with the ending {' or '.join(SUFFIXES)}", got=repr(path.suffix),
                hint="give another name",
            )  # fmt: skip
        if not path.absolute().parent.is_dir():
            raise ConfigError(
                where=str(path), expected="a folder that exists", got=str(path.parent), hint="create the folder"
            )
        self.read()

    def read(self) -> tuple[DrawnScript, str | None]:
        """The script and the SHA-256 of its file; None for a file that does not exist yet."""
        found = self._sha256()
        script = ActionScript(base=self._first_base) if found is None else read_script(self.path)
        script.annotation(self.duration_us, where=str(self.path))
        return DrawnScript.of(script), found

    def write(self, drawn: DrawnScript, *, before_sha256: str | None) -> str:
        """Write the script; the SHA-256 of its file.

        Raises:
            ConfigError: phases overlap on a track, are too short, or exceed the audio.
            ChangedElsewhereError: the file is not the one with `before_sha256`.
        """
        script = drawn.script()
        script.annotation(self.duration_us, where=str(self.path))
        if self._sha256() != before_sha256:
            raise ChangedElsewhereError
        text = script_yaml(script)
        write_text(self.path, text)
        return hashlib.sha256(text.encode()).hexdigest()

    def _sha256(self) -> str | None:
        return hashlib.sha256(self.path.read_bytes()).hexdigest() if self.path.exists() else None


def script_yaml(script: ActionScript) -> str:
    """A script as the YAML that `read_script` reads back to the same values."""
    values = script.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def suggested_texts() -> dict[str, dict[str, str]]:
    """Texts of each action class by side; the side is "none" where the text does not name it."""
    return {action: _texts(action) for action in vocab.ACTIONS}


def _texts(action: vocab.Action) -> dict[str, str]:
    try:
        sides: tuple[vocab.Laterality, ...] = ("left", "right", "both")
        texts: dict[str, str] = {side: describe_action(action, side) for side in sides}
    except KeyError:  # no motion rule, so no wording
        return {"none": action.replace("_", " ")}
    if texts["left"] == texts["right"]:
        return {"none": texts["left"]}
    return texts if "both hands" in texts["both"] else {side: texts[side] for side in ("left", "right")}
