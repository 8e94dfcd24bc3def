"""Numbers of a face from its points: a head whose pose is known gives that pose back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.faces import mesh
from xsheet.curate.faces.mesh import FACE_SIGNALS, FaceGeometry, correct_pitch_for_jaw, face_signals, fit_rigid

angles = st.floats(-40, 40)


def turn(yaw, pitch, roll):
    """Ry(yaw) Rx(pitch) Rz(roll), as demo/puppet/pose.py has it."""
    y, p, r = np.radians((yaw, pitch, roll))
    ry = np.array(((np.cos(y), 0, np.sin(y)), (0, 1, 0), (-np.sin(y), 0, np.cos(y))))
    rx = np.array(((1, 0, 0), (0, np.cos(p), np.sin(p)), (0, -np.sin(p), np.cos(p))))
    rz = np.array(((np.cos(r), np.sin(r), 0), (-np.sin(r), np.cos(r), 0), (0, 0, 1)))
    return ry @ rx @ rz


def head(opening=0.0, left_lids=0.1, right_lids=0.1, gaze=0.0):
    """(478, 3) points of an average head with features where the mesh has them; x left, y up, z ahead."""
    at = np.zeros((478, 3))
    at[list(mesh._RIGID)] = list(mesh._RIGID.values())
    at[[82, 13, 312], 1], at[[87, 14, 317], 1] = -0.3, -0.3 - opening
    at[[61, 291]] = (-0.15, -0.3, 0.1), (0.15, -0.3, 0.1)
    at[0] = 0, -0.27, 0.15
    at[[70, 63, 105, 66, 107, 300, 293, 334, 296, 336], 1] = 0.2
    for upper, lower, (outer, inner), iris, gap in (
        ((160, 159, 158), (144, 145, 153), (33, 133), 468, right_lids),
        ((387, 386, 385), (373, 374, 380), (263, 362), 473, left_lids),
    ):
        middle, half = (at[outer] + at[inner]) / 2, np.array((0, gap / 2, 0))
        at[upper, :], at[lower, :] = middle + half, middle - half
        at[iris] = middle + np.array((gaze, 0, 0))
    return at


def project(at, *, pose=(0, 0, 0), height=200.0, position=(300.0, 200.0, 0.0)):
    """The points as a camera far away shows them, in pixels."""
    return (at @ turn(*pose).T) * (1, -1, -1) * height + position


@pytest.mark.slow
@given(angles, angles, angles, st.floats(30, 900))
def test_known_head_angles_are_recovered(yaw, pitch, roll, height):
    found = fit_rigid(project(head(), pose=(yaw, pitch, roll), height=height)).angles_deg
    np.testing.assert_allclose(found, (yaw, pitch, roll), atol=1e-4)


def test_positive_yaw_turns_the_nose_to_the_right_of_the_picture():
    nose_tip = project(head(), pose=(30, 0, 0))[1, 0] - project(head())[1, 0]
    assert nose_tip > 0
    assert fit_rigid(project(head(), pose=(30, 0, 0))).angles_deg[0] == pytest.approx(30)


@pytest.mark.slow
@given(angles, st.floats(-25, 25), angles, st.floats(30, 900))
def test_expression_does_not_depend_on_pose_size_or_place(yaw, pitch, roll, height):
    still = face_signals(fit_rigid(project(head(opening=0.07))))
    turned = face_signals(
        fit_rigid(project(head(opening=0.07), pose=(yaw, pitch, roll), height=height, position=(90, 700, 5)))
    )
    for name in FACE_SIGNALS[3:]:
        assert turned[name] == pytest.approx(still[name], abs=1e-6), name


def test_mouth_opening_is_measured_by_face_height():
    opened = face_signals(fit_rigid(project(head(opening=0.08))))["mouth_open"]
    assert opened == pytest.approx(0.08, abs=1e-6)


def test_a_shut_left_eye_is_the_subjects_own():
    numbers = face_signals(fit_rigid(project(head(left_lids=0.01, right_lids=0.08))))
    assert numbers["eye_left_open"] < 0.1 < numbers["eye_right_open"]


def test_gaze_to_the_subjects_left_is_positive():
    assert face_signals(fit_rigid(project(head(gaze=0.02))))["gaze_x"] > 0.2
    assert face_signals(fit_rigid(project(head(gaze=-0.02))))["gaze_x"] < -0.2


def test_a_region_turns_with_the_head():
    roi = FaceGeometry(points=project(head(), pose=(0, 0, -20))).roi
    assert np.degrees(roi.angle_rad) == pytest.approx(-20, abs=0.5)


def test_jaw_motion_is_removed_from_pitch_and_a_nod_stays():
    t = np.arange(200) / 25
    opening, nod = 0.05 * (1 + np.sin(2 * np.pi * 5 * t)), 6 * np.sin(2 * np.pi * 0.7 * t)
    mended = correct_pitch_for_jaw(nod + 25 * opening, opening)
    assert np.std(mended - nod) < 0.25 * np.std(25 * opening)
    assert np.corrcoef(mended, nod)[0, 1] > 0.99


def test_pitch_is_unknown_without_a_face():
    pitch, opening = np.array([1.0, np.nan, 3.0, 4.0]), np.array([0.1, np.nan, 0.0, 0.2])
    assert np.isnan(correct_pitch_for_jaw(pitch, opening)).tolist() == [False, True, False, False]


def test_a_closed_mouth_changes_no_pitch():
    pitch = np.linspace(-5, 5, 50)
    np.testing.assert_allclose(correct_pitch_for_jaw(pitch, np.zeros(50)), pitch)
