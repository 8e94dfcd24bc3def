"""Which sort of event a class is, where the annotator names the class only."""

from xsheet.schemas import vocab

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
            "fist", "chop_beat", "circle_hand", "hand_on_chest",
        ),
        "gesture",
    ),
    **dict.fromkeys(("hold_object", "show_object", "put_object"), "object_use"),
    "rest": "rest",
}  # fmt: skip


def kind_of(action: vocab.Action) -> vocab.PhaseKind:
    """The sort of event; 'action' for all that is no gesture, expression, gaze, posture, rest or handling of things."""
    return KIND_OF_ACTION.get(action, "action")
