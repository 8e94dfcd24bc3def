"""The closed word lists of the contract. A change needs a new VOCAB_VERSION; a word never gets another meaning.

Sources: kinematic phases after Kendon (1980), McNeill (1992) and Kita et al. (1998); action classes from the list of
CelebV-Text and common gesture types; emotions are the eight classes of CelebV-Text.
"""

from typing import Literal, get_args

VOCAB_VERSION = "2026.11"

Track = Literal[
    "head", "gaze", "brows", "mouth", "face", "torso", "arm_left", "arm_right", "arms", "hands", "legs", "whole_body",
    "object",
]  # fmt: skip
BodyPart = Literal[
    "head", "eyes", "eyelids", "eye_left", "eye_right", "brows", "brow_left", "brow_right", "cheeks", "nose", "mouth",
    "lips", "jaw", "neck", "shoulders", "shoulder_left", "shoulder_right", "torso", "arm_left", "arm_right",
    "forearm_left", "forearm_right", "hand_left", "hand_right", "fingers_left", "fingers_right", "legs",
]  # fmt: skip
Laterality = Literal["left", "right", "both", "none"]  # the subject's own side
PhaseKind = Literal["action", "gesture", "posture", "rest", "expression", "gaze", "locomotion", "object_use"]
Action = Literal[
    "talk", "listen", "pause",
    "nod", "shake_head", "tilt_head", "turn_head", "lower_head", "raise_head", "move_head",
    "lean_in", "lean_back", "sway", "shrug",
    "look_at_camera", "look_away", "look_down", "look_up", "blink_long", "close_eyes", "wink",
    "raise_brows", "frown", "smile", "laugh", "grimace", "purse_lips", "open_mouth", "bite_lip",
    "raise_hand", "lower_hand", "move_hand", "spread_hands", "join_hands",
    "point", "wave", "open_palms", "palm_up", "count_fingers", "clap", "fist", "chop_beat", "circle_hand", "cross_arms",
    "hand_on_chest", "touch_face", "touch_hair", "adjust_clothes",
    "hold_object", "show_object", "put_object",
    "rest", "other",
]  # fmt: skip
GestureFunction = Literal["beat", "deictic", "iconic", "metaphoric", "emblem", "adaptor", "interactive", "none"]
Kinematic = Literal[
    "rest", "preparation", "pre_stroke_hold", "stroke", "post_stroke_hold", "independent_hold", "retraction",
    "partial_retraction", "recoil", "unknown",
]  # fmt: skip
Relation = Literal["co_speech", "onset_before", "offset_after", "in_pause", "no_speech", "unknown"]
Emotion = Literal["neutral", "happy", "sad", "angry", "fear", "disgust", "contempt", "surprise"]
Framing = Literal["face", "head_shoulders", "upper_body", "three_quarter", "full_body"]
Camera = Literal["static", "pan", "zoom", "handheld", "cut"]
Speaking = Literal["speaking", "listening", "silent", "mixed"]
Layer = Literal["raw", "normalised", "consensus", "rule_fix", "human", "accepted", "gold", "imported"]
ResponseStatus = Literal["ok", "truncated", "invalid", "refused", "error", "skipped"]
Origin = Literal["vlm", "motion", "consensus", "rule", "human", "import", "truth"]
Severity = Literal["info", "warning", "error"]

ACTIONS: tuple[Action, ...] = get_args(Action)
TRACKS: tuple[Track, ...] = get_args(Track)
LAYERS: tuple[Layer, ...] = get_args(Layer)
# One letter per kinematic phase, so that the order rule of a gesture is one regular expression (annotation.kinematics).
KINEMATIC_ORDER = r"^(p?h?[si]o?c?[rt]?)+$"
KINEMATIC_LETTER: dict[Kinematic, str] = {
    "preparation": "p",
    "pre_stroke_hold": "h",
    "stroke": "s",
    "independent_hold": "i",
    "post_stroke_hold": "o",
    "recoil": "c",
    "retraction": "r",
    "partial_retraction": "t",
}
SIDED_TRACK: dict[Track, Laterality] = {"arm_left": "left", "arm_right": "right"}
