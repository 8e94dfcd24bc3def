"""Map tier names and labels of other tools to the vocabulary of the contract.

Track   a track of the vocabulary; else from the body parts in the tier name: one part gives its track, an arm or hand
        with a side that arm, several parts of the face `face`, hands and arms `arms`, anything else `whole_body`.
        Left and right are the subject's own. A name without a body part gives the usual track of the class, and for
        a class outside the vocabulary the body parts in its label.
Class   a class of the vocabulary, ignoring case, spaces and hyphens; else `other`, with the label in action_raw.
"""

import re
from typing import get_args

from xsheet.annotate.text.wording import kind_of
from xsheet.schemas import vocab

_TRACK_OF_WORD: dict[str, vocab.Track] = {
    **dict.fromkeys(("head", "neck"), "head"),
    **dict.fromkeys(("gaze", "eye", "eyes", "eyelid", "eyelids", "look"), "gaze"),
    **dict.fromkeys(("brow", "brows", "eyebrow", "eyebrows"), "brows"),
    **dict.fromkeys(("mouth", "lip", "lips", "jaw"), "mouth"),
    **dict.fromkeys(("face", "facial", "cheek", "cheeks", "nose", "expression"), "face"),
    **dict.fromkeys(("torso", "trunk", "shoulder", "shoulders", "chest", "posture"), "torso"),
    **dict.fromkeys(("arm", "arms", "forearm", "elbow", "elbows"), "arms"),
    **dict.fromkeys(("hand", "hands", "finger", "fingers", "gesture", "gestures", "lh", "rh"), "hands"),
    **dict.fromkeys(("leg", "legs", "foot", "feet"), "legs"),
    **dict.fromkeys(("object", "objects", "prop"), "object"),
}
_FACE_TRACKS = {"gaze", "brows", "mouth", "face"}
_SIDE_OF_WORD: dict[str, vocab.Laterality] = {
    "left": "left", "l": "left", "lh": "left", "right": "right", "r": "right", "rh": "right", "both": "both",
}  # fmt: skip
_TRACK_OF_ACTION: dict[vocab.Action, vocab.Track] = {
    **dict.fromkeys(("nod", "shake_head", "tilt_head", "turn_head", "lower_head", "raise_head", "move_head"), "head"),
    **dict.fromkeys(("look_at_camera", "look_away", "look_down", "look_up", "blink_long", "close_eyes"), "gaze"),
    **dict.fromkeys(("raise_brows", "frown"), "brows"),
    **dict.fromkeys(("talk", "purse_lips", "open_mouth", "bite_lip"), "mouth"),
    **dict.fromkeys(("wink", "smile", "laugh", "grimace"), "face"),
    **dict.fromkeys(("lean_in", "lean_back", "sway", "shrug"), "torso"),
    **dict.fromkeys(
        (
            "raise_hand", "lower_hand", "point", "wave", "open_palms", "palm_up", "count_fingers", "clap", "fist",
            "chop_beat", "circle_hand", "hand_on_chest", "touch_face", "touch_hair", "adjust_clothes",
        ),
        "hands",
    ),
    "cross_arms": "arms",
    **dict.fromkeys(("hold_object", "show_object", "put_object"), "object"),
}  # fmt: skip
_USUAL_SIDE: dict[vocab.Track, vocab.Laterality] = {**vocab.SIDED_TRACK, "arms": "both", "hands": "both"}
_KINEMATIC_OF_WORD: dict[str, vocab.Kinematic] = {
    **{word: word for word in get_args(vocab.Kinematic)},
    **dict.fromkeys(("prep", "prep.", "p"), "preparation"),
    **dict.fromkeys(("s", "str"), "stroke"),
    **dict.fromkeys(("retract", "ret", "recovery", "r"), "retraction"),
    **dict.fromkeys(("pre_hold", "prestroke_hold", "pre_stroke"), "pre_stroke_hold"),
    **dict.fromkeys(("post_hold", "poststroke_hold", "post_stroke"), "post_stroke_hold"),
}


def action_of(label: str) -> vocab.Action:
    """The class of a label; 'other' if it is not in the vocabulary."""
    key = _key(label)
    found: vocab.Action | None = next((one for one in vocab.ACTIONS if one == key), None)
    return found or "other"


def track_of(tier: str, action: vocab.Action, *, label: str = "") -> vocab.Track:
    """The track of a tier name, else of the class, else of a label outside the vocabulary."""
    exact: vocab.Track | None = next((one for one in vocab.TRACKS if one == _key(tier)), None)
    return exact or _track_in_name(tier) or _TRACK_OF_ACTION.get(action) or _track_in_name(label) or "whole_body"


def _track_in_name(name: str) -> vocab.Track | None:
    words = _words(name)
    found: set[vocab.Track] = {_TRACK_OF_WORD[word] for word in words if word in _TRACK_OF_WORD}
    if not found:
        return "whole_body" if "body" in words else None
    if found <= {"arms", "hands"}:
        side = _side_in_words(words)
        sided: vocab.Track | None = next((track for track, its in vocab.SIDED_TRACK.items() if its == side), None)
        return sided or (found.pop() if len(found) == 1 else "arms")
    if len(found) == 1:
        return found.pop()
    return "face" if found <= _FACE_TRACKS else "whole_body"


def side_of(tier: str, track: vocab.Track) -> vocab.Laterality:
    """The side of the track, else the side in the tier name, else the usual side of the track."""
    return vocab.SIDED_TRACK.get(track) or _side_in_words(_words(tier)) or _USUAL_SIDE.get(track, "none")


def kinematic_of(label: str) -> vocab.Kinematic | None:
    """The gesture part of a label."""
    return _KINEMATIC_OF_WORD.get(_key(label))


def default_fields(tier: str, track: vocab.Track, action: vocab.Action) -> dict[str, str]:
    """Values of a phase that an import uses if the file states none."""
    return {"text": action.replace("_", " "), "laterality": side_of(tier, track), "kind": kind_of(action)}


def _side_in_words(words: list[str]) -> vocab.Laterality | None:
    named: set[vocab.Laterality] = {_SIDE_OF_WORD[word] for word in words if word in _SIDE_OF_WORD}
    return named.pop() if len(named) == 1 else "both" if named else None


def _key(label: str) -> str:
    return "_".join(re.split(r"[\s_-]+", label.strip().lower()))


def _words(tier: str) -> list[str]:
    # 'RightHand' and 'right_hand2' contain the same words as 'right hand'.
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", tier).lower())
