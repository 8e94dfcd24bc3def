from functools import cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.dedup.fingerprint import FingerprintAnalyser, picture_words, sound_words
from xsheet.curate.dedup.near_duplicates import near_duplicates
from xsheet.curate.dedup.union_find import UnionFind
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.reader import open_media
from xsheet.demo.film.plan import FilmKind, plan_film
from xsheet.demo.film.render import render_film
from xsheet.schemas.source import Fingerprint, NearDuplicate
from xsheet.schemas.tables import FINGERPRINTS, to_arrow

Picture = np.ndarray


def fingerprint(name: str, pictures: list[Picture], sound: np.ndarray | None) -> Fingerprint:
    analyser = FingerprintAnalyser()
    for k, rgb in enumerate(pictures):
        analyser.add(Frame(index=k, start_us=40_000 * k, rgb=rgb, source_index=k, source_us=40_000 * k))
    return analyser.fingerprint(name, sound=sound)


@cache
def film(index: int, kind: FilmKind) -> tuple[list[Picture], np.ndarray]:
    plan = plan_film(index, seed=11, kind=kind)
    return list(render_film(plan, height_px=128)), plan.sound


@cache
def start_of_film() -> tuple[list[Picture], np.ndarray]:
    """Twelve pictures."""
    plan = plan_film(1, seed=11, kind="talk")
    return list(islice(render_film(plan, height_px=128), 12)), plan.sound


def duplicates(*prints: Fingerprint) -> list[NearDuplicate]:
    return near_duplicates(to_arrow(list(prints), FINGERPRINTS))


def joined_by(*prints: Fingerprint) -> set[str]:
    return {row.by for row in duplicates(*prints)}


def recompressed(rgb: Picture) -> Picture:
    done, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 75])
    assert done
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


CHANGES = {
    "compressed again": recompressed,
    "scaled": lambda rgb: cv2.resize(rgb, (90, 80), interpolation=cv2.INTER_AREA),
    "darker": lambda rgb: (rgb * 0.6).astype(np.uint8),
    "cropped a little": lambda rgb: rgb[3:-2, 2:-3],
    "grey": lambda rgb: np.repeat(rgb.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_of_the_picture_is_found(change):
    pictures, _ = film(1, "talk")
    copy = [CHANGES[change](rgb) for rgb in pictures]
    (row,) = duplicates(fingerprint("a", pictures, None), fingerprint("b", copy, None))
    assert (row.group, row.source_id, row.other_id, row.by) == ("a", "a", "b", "picture")
    assert row.matched_frames > 0.7 * len(pictures)


@pytest.mark.slow
def test_a_copy_that_begins_later_is_found_with_its_lag():
    pictures, sound = film(1, "talk")
    rows = duplicates(fingerprint("a", pictures, sound), fingerprint("b", pictures[20:], sound[20 * 640 :]))
    assert {(row.by, row.lag_frames) for row in rows} == {("picture", 20), ("sound", 20)}


@pytest.mark.slow
def test_the_same_picture_with_another_sound_is_joined_by_the_picture():
    pictures, sound = film(1, "talk")
    other = film(2, "talk")[1][: len(sound)]
    assert joined_by(fingerprint("a", pictures, sound), fingerprint("b", pictures, other)) == {"picture"}


@pytest.mark.slow
def test_the_same_sound_under_another_picture_is_joined_by_the_sound():
    pictures, sound = film(1, "talk")
    assert joined_by(fingerprint("a", pictures, sound), fingerprint("b", film(2, "talk")[0], sound)) == {"sound"}


@pytest.mark.slow
def test_a_louder_noisy_copy_of_the_sound_matches():
    pictures, sound = film(1, "talk")
    noise = np.random.default_rng(0).normal(0, 0.02 * sound.std(), len(sound))
    changed = np.clip(1.7 * (sound + noise), -1, 1).astype(np.float32)
    assert "sound" in joined_by(fingerprint("a", pictures, sound), fingerprint("b", [], changed))


@pytest.mark.slow
def test_two_takes_of_one_person_are_no_duplicates():
    pictures, sound = film(3, "jump_cut")  # two takes of one identity, each with its own words and gestures
    cut = plan_film(3, seed=11, kind="jump_cut").shots[1].frames.start
    parts = (pictures[:cut], sound[: cut * 640]), (pictures[cut:], sound[cut * 640 :])
    assert not duplicates(*(fingerprint(f"s{k}", *part) for k, part in enumerate(parts)))


@pytest.mark.nightly
def test_different_films_are_not_joined():
    kinds: tuple[FilmKind, ...] = ("talk", "silence", "music", "hard_cut", "two_heads", "talk", "voice_over", "still")
    prints = [fingerprint(f"s{k}", *film(k + 20, kind)) for k, kind in enumerate(kinds)]
    assert not duplicates(*prints)


def test_static_pictures_and_silence_have_no_words():
    pictures, _ = start_of_film()
    still = fingerprint("a", [pictures[0]] * 100, np.zeros(100 * 640, np.float32))
    assert set(still.picture) == set(still.sound) == {None}
    assert not duplicates(still, fingerprint("b", [pictures[0]] * 100, np.zeros(100 * 640, np.float32)))


@pytest.mark.parametrize("frames", [0, 1, 9, 12])
def test_a_film_of_a_few_frames_has_a_fingerprint_of_its_length(frames):
    pictures, sound = start_of_film()
    short = fingerprint("a", pictures[:frames], sound[: frames * 640])
    assert len(short.picture) == len(short.sound) == frames
    assert not duplicates(short, fingerprint("b", pictures[:frames], sound[: frames * 640]))


def test_an_empty_table_has_no_duplicates():
    assert duplicates() == []


@pytest.mark.slow
def test_the_order_of_the_sources_does_not_matter():
    pictures, sound = film(1, "talk")
    prints = [
        fingerprint("a", pictures, sound),
        fingerprint("b", [recompressed(rgb) for rgb in pictures], sound),
        fingerprint("c", film(2, "talk")[0], film(2, "talk")[1]),
        fingerprint("d", pictures[30:], None),
    ]
    rows = duplicates(*prints)
    assert rows == duplicates(*prints[::-1])
    assert {row.group for row in rows} == {"a"}
    assert {row.source_id for row in rows} | {row.other_id for row in rows} == {"a", "b", "d"}


@pytest.mark.slow
def test_a_shared_jingle_joins_no_sources():
    first, second = film(1, "talk")[1], film(2, "talk")[1]
    start = np.concatenate([first[: 50 * 640], second[: 75 * 640]])
    assert not duplicates(fingerprint("a", [], first), fingerprint("b", [], start))


def test_words_follow_the_frames():
    grids = np.random.default_rng(0).uniform(0, 255, (60, 4, 9))
    words, valid = picture_words(grids)
    later, _ = picture_words(grids[7:])
    assert (words[7:50] == later[:43]).all()
    assert valid.tolist() == [True] * 50 + [False] * 10


@pytest.mark.slow
def test_sound_words_do_not_depend_on_block_boundaries():
    sound = np.random.default_rng(0).normal(0, 0.1, 640 * 1200).astype(np.float32)
    words, _ = sound_words(sound)
    part, _ = sound_words(sound[640 * 480 : 640 * 560])
    assert (words[490:540] == part[10:60]).all()


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20))
def test_groups_are_the_connected_components(count, links):
    groups = UnionFind(range(count))
    reach = np.eye(count, dtype=bool)
    for one, other in ((a % count, b % count) for a, b in links):
        groups.union(one, other)
        reach[one, other] = reach[other, one] = True
    for _ in range(count):
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    assert sorted(map(tuple, groups.groups())) == sorted({tuple(np.flatnonzero(row).tolist()) for row in reach})


# ---- real clips


@pytest.fixture(scope="module")
def real(shared: Path) -> dict[str, Fingerprint]:
    names = ("duplicate-reencoded", "hard-cut-two-speakers", "dark", "12fps", "letterboxed", "swapped-audio-b")
    root = shared / "data"
    paths = [root / "derived" / f"{name}.mp4" for name in names]
    paths += [root / "videos" / f"{name}" for name in ("retalk-woman-blue-700.mp4", "retalk-ocasio-cortez-590.mp4")]
    paths += sorted((root / "videos").glob("grid-*.mpg")) + sorted((root / "videos").glob("asl-*.mkv"))
    prints = {}
    for path in paths:
        with open_media(path, root=root) as media:
            analyser = FingerprintAnalyser()
            for frame in media.frames(size=(256, 256)):
                analyser.add(frame)
            prints[path.stem] = analyser.fingerprint(path.stem, sound=media.sound())
    return prints


@pytest.mark.nightly
def test_real_copies_are_joined_and_different_recordings_of_one_scene_are_not(real):
    rows = duplicates(*real.values())
    base = "retalk-woman-blue-700"
    by: dict[str, set[str]] = {}
    for row in rows:
        if base in (row.source_id, row.other_id):
            by.setdefault(row.other_id if row.source_id == base else row.source_id, set()).add(row.by)
    assert by["duplicate-reencoded"] == by["12fps"] == by["dark"] == {"picture", "sound"}
    assert by["letterboxed"] == {"sound"}  # the grid lies elsewhere
    assert by["hard-cut-two-speakers"]
    joined = {name for row in rows for name in (row.source_id, row.other_id)}
    assert not {name for name in joined if name.startswith(("grid", "asl"))}
