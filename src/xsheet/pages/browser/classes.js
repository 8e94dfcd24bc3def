// Digit keys 1 to 9: the classes of a track, most common first. The list in the form has all classes.

const HAND = ["raise_hand", "lower_hand", "wave", "point", "palm_up", "fist", "hand_on_chest", "touch_face", "touch_hair"];
const HANDS = ["open_palms", "chop_beat", "clap", "count_fingers", "cross_arms", "circle_hand", "hold_object", "show_object", "adjust_clothes"];
const CLASSES = {
  head: ["nod", "shake_head", "tilt_head", "turn_head", "lower_head", "raise_head"],
  gaze: ["look_away", "look_at_camera", "look_down", "look_up", "blink_long", "close_eyes", "wink"],
  brows: ["raise_brows", "frown"],
  mouth: ["open_mouth", "purse_lips", "bite_lip", "talk", "pause"],
  face: ["smile", "laugh", "grimace"],
  torso: ["lean_in", "lean_back", "sway", "shrug"],
  arm_left: HAND, arm_right: HAND, arms: HANDS, hands: HANDS,
  whole_body: ["rest", "sway", "listen", "pause"],
  object: ["hold_object", "show_object", "put_object"],
};

/** The class of a digit 1..9 on a track, or undefined. */
export const classOf = (track, digit) => CLASSES[track]?.[digit - 1];

/** The digit of a class on a track, or null. */
export function digitOf(track, action) {
  const place = (CLASSES[track] ?? []).indexOf(action);
  return place < 0 ? null : place + 1;
}

export const classesOf = (track) => CLASSES[track] ?? [];
