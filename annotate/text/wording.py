"""Wording: kind and clause of an action ('nods twice, slightly and quickly'), and cleaning of a model's words."""

import re
import unicodedata

from xsheet.schemas import vocab
from xsheet.schemas.time import seconds_from_us
from xsheet.schemas.vocab import Laterality

KIND_OF_ACTION: dict[vocab.Action, vocab.PhaseKind] = {
    **dict.fromkeys(("look_at_camera", "look_away", "look_down", "look_up", "blink_long", "close_eyes"), "gaze"),
    **dict.fromkeys(
        ("wink", "raise_brows", "frown", "smile", "laugh", "grimace", "purse_lips", "open_mouth", "bite_lip"),
        "expression",
    ),
    **dict.fromkeys(("lean_in", "lean_back", "sway", "cross_arms"), "posture"),
    **dict.fromkeys(
        (
            "shrug", "raise_hand", "lower_hand", "point", "wave", "open_palms", "palm_up", "count_fingers", "clap",
            "fist", "chop_beat", "circle_hand", "hand_on_chest", "move_hand", "spread_hands", "join_hands",
        ),
        "gesture",
    ),
    **dict.fromkeys(("hold_object", "show_object", "put_object"), "object_use"),
    "rest": "rest",
}  # fmt: skip


def kind_of(action: vocab.Action) -> vocab.PhaseKind:
    """The kind of an action class; 'action' if it has no other kind."""
    return KIND_OF_ACTION.get(action, "action")


_VERBS: dict[vocab.Action, str] = {
    "nod": "nods", "shake_head": "shakes the head", "tilt_head": "tilts the head{how} to the {side}",
    "turn_head": "turns the head{how} to the {side}", "lower_head": "lowers the head", "raise_head": "raises the head",
    "move_head": "moves the head",
    "look_away": "looks away to the {side}", "look_down": "looks down", "blink_long": "closes both eyes for a moment",
    "raise_brows": "raises both brows", "smile": "smiles", "open_mouth": "opens the mouth",
    "purse_lips": "purses the lips",
    "lean_in": "leans{how} towards the camera", "lean_back": "leans back", "sway": "sways from side to side",
    "shrug": "shrugs both shoulders", "raise_hand": "raises {hand}", "lower_hand": "lowers {hand}",
    "wave": "waves with {hand}", "point": "holds {hand} out", "clap": "claps", "open_palms": "opens both hands",
    "chop_beat": "beats with {hand}", "move_hand": "moves {hand}", "spread_hands": "moves {hand} apart",
    "join_hands": "brings {hand} together", "rest": "keeps still",
}  # fmt: skip
_TIMES = {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times"}
# Adverbs of a large action, where one fits the verb; a small one is done slightly.
_LARGE_ADVERBS: dict[vocab.Action, str] = {
    "nod": "deeply", "shake_head": "widely", "smile": "broadly", "open_mouth": "widely", "sway": "widely",
    "spread_hands": "widely", "lean_in": "clearly", "lean_back": "clearly", "raise_brows": "clearly",
}  # fmt: skip
_WITHOUT_SIZE: frozenset[vocab.Action] = frozenset(
    ("move_head", "blink_long", "look_away", "look_down", "wave", "clap", "join_hands", "rest")
)
_SLOT = "\0"  # place of the adverbs in a clause
_SPEED_ADVERBS = {1: "slowly", 3: "quickly"}
_WITHOUT_SPEED: frozenset[vocab.Action] = frozenset(
    (
        "move_head",
        "smile",
        "look_away",
        "look_down",
        "blink_long",
        "raise_brows",
        "open_mouth",
        "purse_lips",
        "sway",
        "rest",
    )
)


def describe_action(
    action: vocab.Action,
    side: vocab.Laterality,
    *,
    repetitions: int | None = None,
    amplitude: int | None = None,
    speed: int | None = None,
    open_hand: bool = False,
) -> str:
    """A clause in the present tense without subject. KeyError for a class without a motion rule.

    Args:
        action: class.
        side: the subject's own side.
        repetitions: cycles of a repeated action.
        amplitude: level, 1 to 3.
        speed: level, 1 to 3.
        open_hand: for movements of hands, their fingers are straight.
    """
    both = side == "both" or action in ("spread_hands", "join_hands")
    shape = "open " if open_hand else ""
    hand = f"both {shape}hands" if both else f"the {shape}{side} hand"
    clause = _VERBS[action].format(side=side, hand=hand, how=_SLOT)
    size = "slightly" if amplitude == 1 else _LARGE_ADVERBS.get(action) if amplitude == 3 else None
    size = None if action in _WITHOUT_SIZE else size
    pace = None if action in _WITHOUT_SPEED else _SPEED_ADVERBS.get(speed or 0)
    how = " and ".join(filter(None, (size, pace)))
    if repetitions is not None and repetitions > 1:
        clause += f" {_TIMES.get(repetitions, 'several times')}"
        how = f", {how}" if how else ""
    else:
        how = f" {how}" if how else ""
    return clause.replace(_SLOT, how) if _SLOT in clause else clause + how


_HELD: dict[vocab.Action, str] = {
    "tilt_head": "keeps the head tilted to the {side}", "turn_head": "keeps the head turned to the {side}",
    "lower_head": "keeps the head lowered", "raise_head": "keeps the head raised",
    "blink_long": "keeps both eyes closed", "raise_brows": "keeps both brows raised", "smile": "keeps smiling",
    "open_mouth": "keeps the mouth open", "purse_lips": "keeps the lips pursed",
    "lean_in": "keeps leaning towards the camera", "shrug": "keeps both shoulders raised",
    "raise_hand": "keeps {hand} raised", "lower_hand": "keeps {hand} lowered", "point": "keeps {hand} out",
    "open_palms": "keeps both hands open", "spread_hands": "keeps both hands apart",
    "join_hands": "keeps both hands together", "rest": "keeps still",
}  # fmt: skip
_IN_STEPS: frozenset[vocab.Action] = frozenset(
    (
        "tilt_head", "turn_head", "lower_head", "raise_head", "move_head", "lean_in", "lean_back", "raise_hand",
        "lower_hand",
        "move_hand", "spread_hands", "join_hands",
    )
)  # fmt: skip
"""Movements from one place to another: two of them may be two steps of one, so they are not counted."""
_RETURNING: dict[vocab.Action, str] = dict.fromkeys(
    ("tilt_head", "turn_head", "lower_head", "raise_head"), "moves the head back"
)
_GERUNDS = {
    "nods": "nodding", "shakes": "shaking", "tilts": "tilting", "turns": "turning", "lowers": "lowering",
    "raises": "raising", "looks": "looking", "closes": "closing", "smiles": "smiling", "opens": "opening",
    "purses": "pursing", "leans": "leaning", "sways": "swaying", "shrugs": "shrugging", "waves": "waving",
    "holds": "holding", "claps": "clapping", "beats": "beating", "moves": "moving", "brings": "bringing",
}  # fmt: skip


def describe_ongoing(action: vocab.Action, side: vocab.Laterality, part: vocab.Kinematic | None) -> str:
    """A clause for an action that began earlier, without size, speed and count. KeyError as describe_action.

    Args:
        action: class.
        side: the subject's own side.
        part: kinematic part that takes most of the time; None = not known, then what can be held is held.
    """
    hand = "both hands" if side == "both" else f"the {side} hand"
    if part == "retraction" and action in _RETURNING:
        return _RETURNING[action]
    if action in _HELD and not (part == "stroke" and action in _IN_STEPS):
        return _HELD[action].format(side=side, hand=hand)
    verb, _, rest = describe_action(action, side).partition(" ")
    return f"keeps {_GERUNDS[verb]} {rest}".rstrip()


def describe_repeated(action: vocab.Action, side: vocab.Laterality, count: int) -> str:
    """A clause for several movements of one class, without size and speed. KeyError as describe_action."""
    if action in _IN_STEPS:
        return describe_action(action, side)
    clause = describe_action(action, side, repetitions=count)
    return clause.replace(" for a moment", "")


def describe_clip(framing: vocab.Framing, speaking: vocab.Speaking) -> str:
    """Base text from framing and speaking alone."""
    verb = {"speaking": "speaks", "mixed": "speaks now and then"}.get(speaking, "is silent")
    return f"A person {verb} in front of the camera, {_FRAMING_CLAUSES[framing]}."


_FRAMING_CLAUSES: dict[vocab.Framing, str] = {
    "face": "the face filling the picture", "head_shoulders": "seen from the chest up",
    "upper_body": "seen from the waist up", "three_quarter": "seen from the knees up", "full_body": "seen whole",
}  # fmt: skip


_MEDIUM = r"(?:video|clip|footage|recording|image sequence|images?|frames?|sequence|picture|pictures|scene|camera)"
_SHOWS = r"(?:shows?|depicts?|features?|displays?|presents?|captures?|opens? with)"
# Formulas at the start of a sentence; the content follows them.
_THIS_MEDIUM = (
    rf"(?:the|this|these) (?:(?:provided|given|short|entire|whole) )?{_MEDIUM}(?: (?:sequence|clip|segment))?"
)
_FORMULA = re.compile(
    rf"(?:in|throughout|across|during) {_THIS_MEDIUM}, "
    rf"|{_THIS_MEDIUM} {_SHOWS}(?: that)?:? "
    r"|(?:we|you|viewers?|one) (?:can )?(?:clearly )?see (?:that )?",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?:(?<=[.!?] )|^)(?=\S)")
_PART = r"(?:hand|arm|forearm|wrist|fist|palm|elbow|shoulder|finger|fingers|index finger|thumb|eye|eyelid|eyebrow|brow)"
_SIDED_PART = re.compile(rf"\b(left|right)[ -]{_PART}s?\b", re.IGNORECASE)


def clean_line(text: str, *, max_chars: int) -> str:
    """The text on one line, NFC, without invisible characters, truncated at a word."""
    visible = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    line = " ".join(unicodedata.normalize("NFC", visible).split())
    if len(line) <= max_chars:
        return line
    return line[: max_chars + 1].rpartition(" ")[0].rstrip() or line[:max_chars]


def character_count(text: str) -> int:
    """Length of a text as Latin letters: a wide character of Chinese, Japanese or Korean, a word or half, is five."""
    return sum(5 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def strip_medium_phrases(text: str) -> str:
    """The text without formulas such as 'The video shows ...' at the start of its sentences."""
    while (shorter := "".join(map(_strip_formula, _SENTENCE.split(text)))) != text:
        text = shorter
    return text


def _strip_formula(sentence: str) -> str:
    formula = _FORMULA.match(sentence)
    if formula is None or formula.end() == len(sentence):
        return sentence
    rest = sentence[formula.end() :]
    return rest[0].upper() + rest[1:] if sentence[0].isupper() and rest[0].isascii() else rest


def find_side(text: str) -> Laterality | None:
    """The one side whose hand, arm, eye, ... the text names; None if it names none or both."""
    sides: set[Laterality] = {"left" if found.lower() == "left" else "right" for found in _SIDED_PART.findall(text)}
    return sides.pop() if len(sides) == 1 else None


def format_seconds(us: int) -> str:
    """Seconds with at most two decimals: 1_200_000 → '1.2'."""
    return f"{seconds_from_us(us):.2f}".rstrip("0").rstrip(".")
