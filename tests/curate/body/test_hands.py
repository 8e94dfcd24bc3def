"""Shapes, palm directions and distances of hands that are built joint by joint."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.body.hands import (
    finger_extensions,
    gap_of_hands,
    gap_to_chest,
    gap_to_face,
    hand_shape,
    may_show_hands,
)

SIDES = ("left", "right")


def shape_of(points, side="left"):
    return hand_shape(points, points, side=side)


# A flat left hand, palm to the camera and fingers up, metres: bases of the fingers and length of their bones.
BASES = {"index": (-0.025, -0.09), "middle": (0.0, -0.095), "ring": (0.022, -0.09), "little": (0.042, -0.08)}
BONES = {"index": (0.04, 0.025, 0.02), "middle": (0.045, 0.028, 0.02), "ring": (0.04, 0.026, 0.02)}
STRAIGHT, CURLED = 0.0, 75.0  # bend of each joint, degrees


def turn(vector, degrees, axis):
    """Rotate (…, 3) about x, y or z of the picture."""
    a, b = [k for k in range(3) if k != "xyz".index(axis)]
    angle = np.radians(degrees)
    turned = np.array(vector, float)
    turned[..., a] = np.cos(angle) * vector[..., a] - np.sin(angle) * vector[..., b]
    turned[..., b] = np.sin(angle) * vector[..., a] + np.cos(angle) * vector[..., b]
    return turned


def hand(side="left", *, bends=None, thumb_tip=None):
    """(21, 3) a hand with its palm to the camera and its fingers up; `bends` per finger towards the palm, degrees."""
    points = [(0.0, 0.0, 0.0), (-0.03, -0.02, 0.0), (-0.05, -0.045, 0.0), (-0.065, -0.065, 0.0), (-0.08, -0.08, 0.0)]
    for name, base in BASES.items():
        at = np.array((*base, 0.0))
        points.append(tuple(at))
        along = at / np.linalg.norm(at)
        towards_camera = np.array((0.0, 0.0, -1.0))
        for k, length in enumerate(BONES.get(name, (0.032, 0.02, 0.018)), start=1):
            bend = np.radians(k * (bends or {}).get(name, STRAIGHT))
            at = at + length * (np.cos(bend) * along + np.sin(bend) * towards_camera)
            points.append(tuple(at))
    world = np.array(points)
    if thumb_tip is not None:
        world[4] = world[thumb_tip]
    return world if side == "left" else world * (-1, 1, 1)


def every_finger(bend):
    return dict.fromkeys(BASES, bend)


@pytest.mark.parametrize("side", SIDES)
@given(x=st.floats(-180, 180), y=st.floats(-180, 180), size=st.floats(0.1, 10))
def test_the_shape_depends_neither_on_direction_nor_on_size(side, x, y, size):
    half_open = hand(side, bends=every_finger(35.0))
    turned = size * turn(turn(half_open, x, "x"), y, "y")
    assert finger_extensions(turned) == pytest.approx(finger_extensions(half_open), abs=1e-6)


@pytest.mark.parametrize("side", SIDES)
def test_an_open_hand_and_a_fist_lie_at_the_ends_of_the_scale(side):
    assert shape_of(hand(side), side).open == 1
    assert shape_of(hand(side, bends=every_finger(CURLED)), side).open == 0


@given(st.floats(0, 90), st.floats(0, 90))
def test_a_hand_that_bends_more_is_less_open(a, b):
    less, more = sorted((a, b))
    wide, narrow = (shape_of(hand(bends=every_finger(bend))).open for bend in (less, more))
    assert wide >= narrow


def test_only_a_lone_index_finger_points():
    curled = every_finger(CURLED)
    assert shape_of(hand(bends=curled | {"index": STRAIGHT})).point == 1
    for other in (curled, {}, curled | {"index": STRAIGHT, "middle": STRAIGHT, "ring": STRAIGHT}):
        assert shape_of(hand(bends=other)).point < 0.5


def test_tips_that_meet_pinch_and_those_of_a_fist_do_not():
    ring = {"index": 40.0}
    assert shape_of(hand(bends=ring, thumb_tip=8)).pinch > 0.8
    assert shape_of(hand(bends=ring)).pinch == 0
    assert shape_of(hand(bends=every_finger(CURLED), thumb_tip=8)).pinch < 0.2


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("axis", "degrees", "direction"),
    [
        ("x", 0, (0, 0, 1)),  # to the camera
        ("y", 180, (0, 0, -1)),  # back of the hand to the camera
        ("x", 90, (0, -1, 0)),  # fingers to the camera, palm down
        ("x", -90, (0, 1, 0)),
    ],
)
def test_the_palm_points_where_the_hand_was_turned(side, axis, degrees, direction):
    shape = shape_of(turn(hand(side), degrees, axis), side)
    assert shape.palm == pytest.approx(direction, abs=1e-6)


@pytest.mark.parametrize(("side", "degrees"), [("left", -90), ("right", 90)])
def test_palms_that_face_each_other_point_inwards(side, degrees):
    # The own left hand is on the right of the picture, and its palm is turned to the left of the picture.
    assert shape_of(turn(hand(side), degrees, "y"), side).palm == pytest.approx((1, 0, 0), abs=1e-6)


def test_a_palm_that_is_seen_from_two_sides_has_no_direction():
    assert np.isnan(hand_shape(hand(), turn(hand(), 180, "y"), side="left").palm).all()


FACE = np.array((0.8, 0.4, 0.2))


def spot(x, y):
    return np.tile((x, y), (21, 1))


def test_a_hand_in_front_of_the_face_has_no_distance_to_it():
    assert gap_to_face(spot(0.82, 0.43), FACE) == 0


def test_the_distance_to_the_face_counts_face_heights_from_its_outline():
    assert gap_to_face(spot(0.8, 0.4 + 0.2 * (0.55 + 1.5)), FACE) == pytest.approx(1.5)


def test_the_nearest_point_of_a_hand_counts():
    points = spot(1.5, 0.9)
    points[8] = (0.8, 0.4)
    assert gap_to_face(points, FACE) == 0


def test_an_unknown_face_gives_no_distance():
    assert np.isnan(gap_to_face(spot(0.8, 0.4), np.full(3, np.nan)))


def test_a_hand_on_the_breastbone_is_at_the_chest():
    shoulders = np.array(((1.0, 0.6), (0.6, 0.6)))
    assert gap_to_chest(spot(0.8, 0.72), shoulders, 0.2) == 0
    assert gap_to_chest(spot(0.8, 0.4), shoulders, 0.2) > 0.8


def test_hands_that_touch_have_no_gap():
    left, right = spot(0.9, 0.8), spot(0.7, 0.8)
    assert gap_of_hands(left, right, 0.2) == pytest.approx(1)
    left[12] = right[12]
    assert gap_of_hands(left, right, 0.2) == 0


@pytest.mark.parametrize(
    ("left", "right", "searched"),
    [((0.5, 0.5), (2.0, 2.0), True), ((0.5, 1.1), (0.9, 1.4), True), ((0.5, 1.3), (0.9, 1.4), False),
     ((-0.2, 0.5), (1.9, 1.2), False), ((np.nan, np.nan), (0.9, 1.4), True)],
)  # fmt: skip
def test_hands_are_searched_where_a_wrist_is_in_or_near_the_picture(left, right, searched):
    assert may_show_hands(np.array([left, right]), 16 / 9) is searched
