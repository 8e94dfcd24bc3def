"""Lexicon: patterns of action classes, and word lists that the text checks forbid."""

import re
from collections.abc import Mapping
from functools import lru_cache

from xsheet.schemas import vocab

_WITHIN_CLAUSE = r"[^.,;]{0,30}?"  # at most 30 characters of the same clause
_LOOK_VERB = r"\b(?:looks?|looking|glances?|glancing|gazes?|gazing)\s"
# Present tense or participle of a verb; a noun ("a smile") also names an action.
_ACTION_REGEX: Mapping[vocab.Action, str] = {
    "nod": r"\bnod(?:s|ding|ded)?\b",
    "shake_head": rf"\bsh(?:akes?|aking|ook)\b{_WITHIN_CLAUSE}\bhead\b",
    "tilt_head": rf"\btilt(?:s|ing|ed)?\b{_WITHIN_CLAUSE}\bhead\b|\bhead\s(?:tilts|is tilted)\b",
    "turn_head": rf"\bturn(?:s|ing|ed)?\b{_WITHIN_CLAUSE}\bhead\b|\bhead\sturns\b",
    "lower_head": rf"\b(?:lower|drop|bow)(?:s|ing|ped|ed)?\b{_WITHIN_CLAUSE}\bhead\b",
    "raise_head": rf"\b(?:rais|lift)(?:e|es|s|ing|ed)\b{_WITHIN_CLAUSE}\bhead\b",
    "move_head": r"\bmov(?:es|ing|ed)\s(?:the|his|her|their)\shead\b",
    "lean_in": r"\blean(?:s|ing|ed)?\s(?:in\b|forward|towards?|closer)",
    "lean_back": r"\blean(?:s|ing|ed)?\s(?:back|away)",
    "sway": r"\bsway(?:s|ing|ed)?\b",
    "shrug": r"\bshrug(?:s|ging|ged)?\b",
    "look_away": rf"{_LOOK_VERB}(?:away|aside|off|to the (?:left|right|side))",
    "look_down": rf"{_LOOK_VERB}down",
    "look_up": rf"{_LOOK_VERB}up",
    "blink_long": r"\bblink(?:s|ing|ed)?\b|\bcloses\sboth\seyes\b",
    "close_eyes": rf"\bclos(?:e|es|ing|ed)\b{_WITHIN_CLAUSE}\beyes\b",
    "wink": r"\bwink(?:s|ing|ed)?\b",
    "raise_brows": rf"\b(?:rais|lift)(?:e|es|s|ing|ed)\b{_WITHIN_CLAUSE}\b(?:eye)?brows?\b",
    "frown": r"\bfrown(?:s|ing|ed)?\b|\bfurrow(?:s|ing|ed)?\b",
    "smile": r"\bsmil(?:e|es|ing|ed)\b|\bgrin(?:s|ning|ned)?\b",
    "laugh": r"\blaugh(?:s|ing|ed)?\b",
    "grimace": r"\bgrimac(?:e|es|ing|ed)\b",
    "purse_lips": r"\bpurs(?:es|ing)\b",
    "open_mouth": rf"\bopen(?:s|ing|ed)?\b{_WITHIN_CLAUSE}\bmouth\b",
    "bite_lip": rf"\bbit(?:es|ing)\b{_WITHIN_CLAUSE}\blip\b",
    "raise_hand": rf"\b(?:rais|lift)(?:e|es|s|ing|ed)\b{_WITHIN_CLAUSE}\b(?:hands?|arms?|fingers?)\b",
    "lower_hand": rf"\b(?:lower|drop)(?:s|ing|ped|ed)?\b{_WITHIN_CLAUSE}\b(?:hands?|arms?)\b",
    "move_hand": rf"\bmov(?:es|ing|ed)\b{_WITHIN_CLAUSE}\bhands?\b",
    "spread_hands": rf"\bmov(?:es|ing|ed)\b{_WITHIN_CLAUSE}\bhands\sapart\b",
    "join_hands": rf"\b(?:brings|bringing|moves|moving)\b{_WITHIN_CLAUSE}\bhands\stogether\b",
    "point": r"\bpoint(?:s|ing|ed)\b|\bholds\s(?:the\s\w+\s|both\s)hands?\sout\b",
    "wave": r"\bwav(?:es|ing|ed)\b",
    "open_palms": rf"\b(?:opens|spreads|opening|spreading)\b{_WITHIN_CLAUSE}\b(?:palms|hands|arms)\b",
    "clap": r"\bclap(?:s|ping|ped)?\b",
    "chop_beat": r"\b(?:chops?|chopping)\b|\bbeats?\swith\b",
    "circle_hand": rf"\b(?:circles|circling)\b{_WITHIN_CLAUSE}\bhands?\b",
    "cross_arms": rf"\b(?:cross|fold)(?:es|s|ing|ed)\b{_WITHIN_CLAUSE}\barms\b",
    "hand_on_chest": rf"\bhands?\b{_WITHIN_CLAUSE}\b(?:on|to)\b{_WITHIN_CLAUSE}\bchest\b",
    "touch_face": rf"\b(?:touch|rub|scratch)(?:es|s|ing|bing)\b{_WITHIN_CLAUSE}\b(?:face|cheek|chin|nose|forehead)\b",
    "touch_hair": rf"\b(?:touch|brush|strok)(?:es|ing)\b{_WITHIN_CLAUSE}\bhair\b",
    "rest": r"\b(?:keeps|stays|remains|sits|stands|holds)\s(?:\w+\s)?still\b|\bdoes\snot\smove\b",
}
# Texts of these classes may also describe a class on the left: the movements are similar.
_RELATED_ACTIONS: Mapping[vocab.Action, frozenset[vocab.Action]] = {
    "blink_long": frozenset({"close_eyes"}),
    "close_eyes": frozenset({"blink_long"}),
    "nod": frozenset({"lower_head", "move_head"}),
    "shake_head": frozenset({"move_head"}),
    "tilt_head": frozenset({"move_head"}),
    "lower_head": frozenset({"nod", "look_down", "move_head"}),
    "raise_head": frozenset({"look_up", "move_head"}),
    "look_down": frozenset({"lower_head"}),
    "look_up": frozenset({"raise_head"}),
    "look_away": frozenset({"turn_head", "look_down", "look_up"}),
    "turn_head": frozenset({"look_away", "move_head"}),
    "raise_hand": frozenset({"move_hand"}),
    "lower_hand": frozenset({"move_hand"}),
    "laugh": frozenset({"smile"}),
    "palm_up": frozenset({"open_palms"}),
    "open_palms": frozenset({"raise_hand"}),
    "chop_beat": frozenset({"raise_hand"}),
    "point": frozenset({"raise_hand"}),
    "wave": frozenset({"raise_hand"}),
}
# States that can last a whole clip; a caption may name them unless a phase does.
SUSTAINED_ACTIONS: frozenset[vocab.Action] = frozenset(
    {"smile", "cross_arms", "hold_object", "look_at_camera", "rest", "frown"}
)
_ACTION_PATTERNS: Mapping[vocab.Action, re.Pattern[str]] = {
    action: re.compile(words, re.IGNORECASE) for action, words in _ACTION_REGEX.items()
}

MEDIUM_WORDS = re.compile(
    r"\b(?:video|clip|footage|image sequence|images?|frames?|screenshot|recording|photo)s?\b"
    r"|\b(?:the camera|we|viewers?) (?:shows?|sees?|captures?|cuts?)\b",
    re.IGNORECASE,
)
HEDGING_WORDS = re.compile(
    r"\b(?:appears? to|seems?|seemingly|possibly|perhaps|maybe|might|may be|probably|likely|as if"
    r"|presumably|looks like)\b",
    re.IGNORECASE,
)
SPEECH_CONTENT_WORDS = re.compile(
    r"\b(?:says|said|saying|tells|telling|explains|explaining|mentions|announces|asks|argues|talks? about|speaks? about"
    r"|introduces|greets|thanks)\b|[\"“”«»]",
    re.IGNORECASE,
)
IDENTITY_WORDS = re.compile(
    r"\b(?:\d{1,2}[- ]years?[- ]old|elderly|middle-aged|teen(?:ager|age)?s?|caucasian|asian|african(?:-american)?"
    r"|hispanic|latin[oax]|arab(?:ic)?|indian|jewish|muslim|christian|celebrity|famous|politician|president|actress|actor"
    r"|(?:black|white|brown|young|old|younger|older) (?:man|woman|male|female|person|boy|girl|lady|gentleman)"
    r"|(?:mr|mrs|ms|dr)\.? [A-Z]\w+)\b",
    re.IGNORECASE,
)
EMOTION_WORDS = re.compile(
    r"\b(?:happ(?:y|ily|iness)|sad(?:ly|ness)?|angr(?:y|ily)|anger|furious(?:ly)?|fear(?:ful|fully)?|scared|afraid|anxious"
    r"|nervous(?:ly)?|disgust(?:ed)?|contempt(?:uous)?|surprised?|excited(?:ly)?|joy(?:ful|fully)?|proud(?:ly)?|worried"
    r"|confident(?:ly)?|enthusiastic(?:ally)?)\b",
    re.IGNORECASE,
)
_COUNT_WORDS: Mapping[str, int] = {"once": 1, "twice": 2, "three times": 3, "four times": 4, "five times": 5}
_COUNT = re.compile(r"\b(once|twice|three times|four times|five times)\b", re.IGNORECASE)
_LOW_AMPLITUDE, _HIGH_AMPLITUDE = (
    re.compile(r"\b(?:slightly|a little|barely)\b", re.I),
    re.compile(r"\b(?:widely|broadly|deeply|clearly|fully)\b", re.I),
)
_LOW_SPEED, _HIGH_SPEED = re.compile(r"\bslow(?:ly)?\b", re.I), re.compile(r"\b(?:quick|rapid|fast)(?:ly)?\b", re.I)


@lru_cache(maxsize=50_000)
def find_actions(text: str) -> frozenset[vocab.Action]:
    """Action classes that a text names."""
    actions: list[vocab.Action] = [action for action, pattern in _ACTION_PATTERNS.items() if pattern.search(text)]
    return frozenset(actions)


def text_matches_action(action: vocab.Action, text: str) -> bool | None:
    """Whether a text describes a class; None if it names no class or the class has no pattern."""
    named = find_actions(text)
    if not named or action not in _ACTION_PATTERNS:
        return None
    return action in named or bool(named & _RELATED_ACTIONS.get(action, frozenset()))


@lru_cache(maxsize=50_000)
def find_attributes(text: str) -> tuple[int | None, int | None, int | None]:
    """Repetitions, amplitude and speed that a text states; None if it does not."""
    count = _COUNT.search(text)
    return (
        _COUNT_WORDS[count.group(1).lower()] if count else None,
        1 if _LOW_AMPLITUDE.search(text) else 3 if _HIGH_AMPLITUDE.search(text) else None,
        1 if _LOW_SPEED.search(text) else 3 if _HIGH_SPEED.search(text) else None,
    )
