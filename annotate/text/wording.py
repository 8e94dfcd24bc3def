"""Phases in plain words, always the same for the same facts: 'nods twice, slightly, quickly'."""

from xsheet.schemas import vocab

_VERBS: dict[vocab.Action, str] = {
    "nod": "nods", "shake_head": "shakes the head", "tilt_head": "tilts the head to the {side}",
    "turn_head": "turns the head to the {side}", "lower_head": "lowers the head", "raise_head": "raises the head",
    "look_away": "looks away to the {side}", "blink_long": "closes both eyes for a moment",
    "raise_brows": "raises both brows", "smile": "smiles", "open_mouth": "opens the mouth without speaking",
    "lean_in": "leans towards the camera", "lean_back": "leans back", "sway": "sways from side to side",
    "shrug": "shrugs both shoulders", "raise_hand": "raises {hand}", "lower_hand": "lowers {hand}",
    "wave": "waves with {hand}", "point": "holds {hand} out", "clap": "claps", "open_palms": "opens both hands",
    "chop_beat": "beats with {hand}", "rest": "keeps still",
}  # fmt: skip
_TIMES = {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times"}
_AMPLITUDE_ADVERBS = {1: "slightly", 3: "widely"}
_SPEED_ADVERBS = {1: "slowly", 3: "quickly"}


def describe_action(
    action: vocab.Action,
    side: vocab.Laterality,
    *,
    repetitions: int | None = None,
    amplitude: int | None = None,
    speed: int | None = None,
) -> str:
    """A phase as a clause without its subject, in the present tense. KeyError for a class that has no rule."""
    hand = "both hands" if side == "both" else f"the {side} hand"
    said = _VERBS[action].format(side=side, hand=hand)
    if repetitions is not None and repetitions > 1:
        said += f" {_TIMES.get(repetitions, 'several times')}"
    manner = (_AMPLITUDE_ADVERBS.get(amplitude or 0), _SPEED_ADVERBS.get(speed or 0))
    return ", ".join([said, *filter(None, manner)])


def describe_clip(framing: vocab.Framing, speaking: vocab.Speaking) -> str:
    """What the base can say without a picture: how much of a person is seen, and whether there is a voice."""
    doing = {"speaking": "speaks", "mixed": "speaks now and then"}.get(speaking, "is silent")
    return f"A person {doing} before the camera, {_FRAMING_CLAUSES[framing]}."


_FRAMING_CLAUSES: dict[vocab.Framing, str] = {
    "face": "the face filling the picture", "head_shoulders": "seen from the chest up",
    "upper_body": "seen from the waist up", "three_quarter": "seen from the knees up", "full_body": "seen whole",
}  # fmt: skip
