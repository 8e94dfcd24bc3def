"""Accuracy of the motion annotator on real people: its phases against hand-made labels, class and side counted.

    python benchmarks/labels.py [--shared DIR] [--cache DIR] [--moves] [--only NAME ...]

A label names one movement ("turns the head to her left"), a phase may hold a movement, a hold and the way back, with
its times in `kinematics`. Both are compared as **moves**: span, class, side. The words of a label map to the classes
that are true of it (LABEL_WORDS); rows marked unsure, hold and rest are no targets, and what falls on an unsure row is
not counted. A move is *right* if a label of its part overlaps it with tIoU >= .3 (.5) and holds its class and side, one
to one. It is *true* if any label (unsure and hold rows included) holds during it and its class is among the label's, or
if it names only "moves the hand" or "moves the head" while a label of that part moves; what both hands do, each of them
does. "Moves the head" is no prediction of one move, so its stretches are counted apart. Labels never list everything
that is there: blinks, and moves on rows of other parts, are ignored.
"""

import argparse
import csv
import pickle
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from motion import measured, phases_of

from xsheet.schemas.annotation import Phase
from xsheet.schemas.clip import Signals
from xsheet.schemas.time import Span, seconds_from_us, us_from_seconds

FILES = {"actions-hand-made.csv": "videos", "actions2-hand-made.csv": "videos2"}
PARTS: dict[str, tuple[str, ...]] = {
    "hands and arms": ("arm_left", "arm_right", "arms", "hands"),
    "head": ("head",),
    "face and gaze": ("gaze", "brows", "mouth", "face"),
    "torso": ("torso",),
}
PART_OF_WORD = {"hand": "hands and arms", "arm": "hands and arms", "head": "head", "torso": "torso"}
# Words of a label and the classes that are true of it, by part; every pattern that occurs adds its classes.
LABEL_WORDS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "hands and arms": (
        (r"\brais|\blift|swings .* up", ("raise_hand",)),
        (r"\blower|\bdrop|down\b", ("lower_hand",)),
        (r"apart|opens both|wide", ("spread_hands", "open_palms")),
        (r"\bfold|clasp|joined|across", ("join_hands",)),
        (r"palms? up", ("palm_up",)),
        (r"\bpoints", ("point",)),
        (r"\bbeat|shakes?\b", ("chop_beat",)),
        (r"circles", ("circle_hand",)),
        (r"rub", ("clap",)),
    ),
    "head": (
        (r"turn|jerk|swing|shakes|to the front", ("turn_head",)),
        (r"tilt|upright|swing", ("tilt_head",)),
        (r"upright", ("raise_head", "lower_head")),
        (r"\blower|nods?\b|dip|down|drops", ("lower_head",)),
        (r"\bnods?\b", ("nod",)),
        (r"\blift|chin up|throws|straightens", ("raise_head",)),
        (r"shakes", ("shake_head",)),
    ),
    "face and gaze": (
        (r"smil", ("smile", "laugh")),
        (r"bares|grimace|wink", ("grimace",)),
        (r"press|purs|pout|pushes the lips|pulls the mouth|corners", ("purse_lips",)),
        (r"opens (the )?mouth|mouth open|opens mouth", ("open_mouth",)),
        (r"closes? .*eyes|eyes (nearly )?clos|shut|wink|lowered|closes the eyes", ("blink_long", "close_eyes", "wink")),
        (r"raises the brows|surprise", ("raise_brows",)),
        (r"frown|knit|disgust", ("frown",)),
        (r"looks up", ("look_up", "look_away")),
        (r"away", ("look_away",)),
        (r"looks? down|looking down", ("look_down",)),
    ),
    "torso": (
        (r"sways", ("sway", "lean_side")),
        (r"leans", ("lean_in", "lean_side", "sway")),
    ),
}  # fmt: skip
VAGUE = ("move_hand", "move_head")
_OWN_SIDE = re.compile(r"\b(?:her|his|own|the|s) (left|right)\b(?! (?:hand|arm))")


@dataclass(frozen=True, slots=True)
class Move:
    """One movement of one part, predicted or labelled."""

    part: str
    span: Span
    actions: frozenset[str]  # predicted: one; labelled: all that are true
    sides: frozenset[str]  # empty: not stated, any will do
    text: str
    note: str = ""  # of a label
    track: str = ""

    def agrees(self, label: "Move") -> bool:
        """Whether class and side are among the label's."""
        return bool(self.actions & label.actions) and (
            not self.sides or not label.sides or bool(self.sides & label.sides)
        )


@dataclass(slots=True)
class Tally:
    """Counts of one part."""

    labels: int = 0
    predicted: int = 0
    found: dict[float, int] = field(default_factory=lambda: {0.3: 0, 0.5: 0})  # class ignored
    right: dict[float, int] = field(default_factory=lambda: {0.3: 0, 0.5: 0})  # class and side right
    untrue: int = 0
    unnamed: list[bool] = field(default_factory=list)  # stretches of "moves the head": whether a label moves in them
    seconds: float = 0.0

    def f1(self, count: int) -> float:
        """F1 of a number of matches."""
        return 2 * count / max(1, self.labels + self.predicted)


def labels_of(shared: Path) -> dict[Path, list[Move]]:
    """Labels by clip."""
    clips: dict[Path, list[Move]] = defaultdict(list)
    for name, folder in FILES.items():
        with (shared / "data/labels" / name).open() as file:
            for row in csv.DictReader(line for line in file if not line.startswith("#")):
                clips[shared / "data" / folder / row["video"]].append(_label(row))
    return clips


def _label(row: dict[str, str]) -> Move:
    words, text = row["body_part"], row["action"]
    part = next((part for word, part in PART_OF_WORD.items() if word in words), "face and gaze")
    actions: set[str] = {a for pattern, classes in LABEL_WORDS[part] if re.search(pattern, text) for a in classes}
    if text.startswith("signs"):
        actions |= {"sign"}
    if part == "hands and arms" and not actions - {"palm_up", "circle_hand"}:
        actions |= {"move_hand"}
    note = row["note"] if row["note"] in ("hold", "rest", "unsure") else ""
    if re.fullmatch(r"blinks", text):
        note = "unsure"  # the labels do not list every blink
    span = Span(us_from_seconds(float(row["start_s"])), us_from_seconds(float(row["end_s"])))
    return Move(part, span, frozenset(actions), frozenset(_label_sides(words, text, part)), text, note, words)


def _label_sides(words: str, text: str, part: str) -> Iterator[str]:
    if part == "hands and arms":
        yield next(side for side in ("left", "right", "both") if side in words)
    if part in ("head", "torso", "face and gaze"):
        sides = _OWN_SIDE.findall(text)
        if "back" in text or "from image" in text or "upright" in text:
            return  # the way back: the side it comes from or goes to
        yield from sides


def moves_of(phases: Iterable[Phase]) -> list[Move]:
    """Phases as moves: a stroke and its way back are two, a repeated action is one."""
    moves: list[Move] = []
    for phase in phases:
        part = next((part for part, tracks in PARTS.items() if phase.track in tracks), None)
        if part is None or phase.action == "rest":
            continue
        moves += _moves_of_phase(phase, part)
    return moves


_OPPOSITE = {
    "raise_hand": "lower_hand", "lower_hand": "raise_hand", "raise_head": "lower_head", "lower_head": "raise_head",
    "spread_hands": "join_hands", "join_hands": "spread_hands",
}  # fmt: skip


def _moves_of_phase(phase: Phase, part: str) -> Iterator[Move]:
    sides: frozenset[str] = frozenset(() if phase.laterality == "none" else (phase.laterality,))
    if part == "face and gaze" and phase.laterality == "both":
        sides = frozenset()
    back = next((k for k in phase.kinematics if k.phase in ("retraction", "partial_retraction")), None)
    if phase.action == "nod" and phase.repetitions == 1:  # down and up again
        middle = (phase.start_us + phase.end_us) // 2
        yield Move(
            part, Span(phase.start_us, middle), frozenset(("nod", "lower_head")), sides, phase.text, track="head"
        )
        yield Move(part, Span(middle, phase.end_us), frozenset(("nod", "raise_head")), sides, phase.text, track="head")
        return
    if part == "face and gaze" or phase.repetitions:
        yield Move(part, phase.span, frozenset((phase.action,)), sides, phase.text, track=phase.track)
        return
    stroke = next((k for k in phase.kinematics if k.phase == "stroke"), None)
    end_us = stroke.end_us if stroke else back.start_us if back else phase.end_us
    yield Move(part, Span(phase.start_us, end_us), frozenset((phase.action,)), sides, phase.text, track=phase.track)
    if back is None:
        return
    opposite = _OPPOSITE.get(phase.action, phase.action)
    other = {"left": "right", "right": "left"}
    if part != "hands and arms":
        sides = frozenset(other.get(side, side) for side in sides)
    yield Move(
        part, Span(back.start_us, back.end_us), frozenset((opposite,)), sides, f"({phase.text}) back", track=phase.track
    )


def matches(
    predicted: Sequence[Move], labels: Sequence[Move], *, least: float, with_class: bool
) -> list[tuple[Move, Move]]:
    """One-to-one matches, the largest tIoU first."""
    pairs = [
        (move.span.tiou(label.span), i, j)
        for i, move in enumerate(predicted)
        for j, label in enumerate(labels)
        if not with_class or move.agrees(label)
    ]
    used: tuple[set[int], set[int]] = set(), set()
    found = []
    for tiou, i, j in sorted(pairs, reverse=True):
        if tiou >= least and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            found.append((predicted[i], labels[j]))
    return found


def is_true(move: Move, labels: Sequence[Move]) -> bool:
    """Whether a label that holds during a good part of the move, or the other way round, names its class and side."""
    for label in labels:
        shared = _shared_us(move.span, label.span)
        if shared >= 0.4 * min(move.span.duration_us, label.span.duration_us):
            if move.actions & set(VAGUE) and label.note not in ("rest", "hold") and _same_part(move, label):
                return True
            if move.actions & label.actions and _same_part(move, label):
                return True
    return False


def _same_part(move: Move, label: Move) -> bool:
    """Whether a label speaks of the same hand or side; what both hands do, each of them does."""
    return not move.sides or not label.sides or "both" in label.sides or bool(move.sides & label.sides)


def _shared_us(a: Span, b: Span) -> int:
    return max(0, min(a.end_us, b.end_us) - max(a.start_us, b.start_us))


def is_open(move: Move, labels: Sequence[Move]) -> bool:
    """Whether an unsure row covers most of a move."""
    return any(
        label.note == "unsure" and _shared_us(move.span, label.span) >= 0.5 * move.span.duration_us for label in labels
    )


def score_clip(
    predicted: Sequence[Move],
    labels: Sequence[Move],
    seconds: float,
    tallies: dict[str, Tally],
    classes: dict[str, list[int]],
    *,
    exhaustive: bool,
) -> list[tuple[Move, bool]]:
    """Add one clip; return its moves with their truth."""
    judged: list[tuple[Move, bool]] = []
    for part, tally in tallies.items():
        mine = [label for label in labels if label.part == part]
        if not mine:
            continue  # nobody looked at this part of this clip
        targets = [label for label in mine if label.note == "" and label.actions]
        if part == "face and gaze":  # rows of the head say where she looks too; they are no targets of this part
            mine += [
                replace(label, actions=frozenset(("look_down",)), sides=frozenset(), note="hold")
                for label in labels
                if label.part == "head" and "looks down" in label.text
            ]
        moves = [move for move in predicted if move.part == part]
        signs = [label for label in targets if "sign" in label.actions]
        if signs:
            moves = [_joined(moves, part)] if moves else []
        vague = [move for move in moves if "move_head" in move.actions]
        moves = [move for move in moves if move not in vague]
        for least in (0.3, 0.5):
            tally.found[least] += len(matches(moves, targets, least=least, with_class=False))
            tally.right[least] += len(matches(moves, targets, least=least, with_class=not signs))
        counted = [
            m
            for m in moves
            if (not is_open(m, mine) and not m.actions & {"blink_long", "wink"})
            or matches([m], targets, least=0.3, with_class=True)
        ]
        tally.labels += len(targets)
        if not exhaustive:  # moves that nobody labelled are no mistakes
            counted = [m for m in counted if any(_shared_us(m.span, label.span) for label in targets)]
        tally.predicted += len(counted)
        tally.seconds += seconds
        tally.unnamed += [is_true(move, mine) for move in vague] if exhaustive else []
        for move in counted if exhaustive else ():
            true = bool(signs) or is_true(move, mine)
            tally.untrue += not true
            judged.append((move, true))
            if not signs:
                for action in move.actions:
                    classes[action][0] += true
                    classes[action][1] += 1
    return judged


def _joined(moves: Sequence[Move], part: str) -> Move:
    """All moves of one signed word as one; a sign is a whole gesture unit."""
    start, end = min(m.span.start_us for m in moves), max(m.span.end_us for m in moves)
    return Move(part, Span(start, end), frozenset(("sign",)), frozenset(), "the unit")


def read_signals(path: Path, cache: Path | None) -> tuple[Signals, int]:
    """Signals and picture height, from the cache where they are."""
    file = None if cache is None else cache / f"{path.name}.pickle"
    if file is not None and file.is_file():
        signals, height = pickle.loads(file.read_bytes())[:2]
        return signals, height
    result = measured(path)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(result))
    return result


def table(tallies: dict[str, Tally]) -> Iterator[str]:
    """Rows of the main table."""
    yield (
        "| part | labels | predicted | F1@.3 | class right | F1@.5 | class right | untrue / 10 s | predicted / 10 s | "
        "unnamed motion, with a label |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for part, t in tallies.items():
        tens = max(t.seconds / 10, 1e-9)
        yield (
            f"| {part} | {t.labels} | {t.predicted} | {t.f1(t.found[0.3]):.2f} | **{t.f1(t.right[0.3]):.2f}** | "
            f"{t.f1(t.found[0.5]):.2f} | {t.f1(t.right[0.5]):.2f} | {t.untrue / tens:.2f} | {t.predicted / tens:.1f} | "
            f"{f'{sum(t.unnamed)} of {len(t.unnamed)}' if t.unnamed else ''} |"
        )


def main() -> None:
    """Score the annotator on all labelled clips and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--moves", action="store_true", help="print every move and label")
    parser.add_argument("--measured-only", action="store_true", help="skip clips that are not in the cache")
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of clip names")
    options = parser.parse_args()
    if not options.shared.is_dir():
        raise SystemExit(f"no real clips in {options.shared}; skipped")
    sets: dict[str, dict[str, Tally]] = {name: {part: Tally() for part in PARTS} for name in FILES}
    classes: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path, labels in labels_of(options.shared).items():
        if options.measured_only and not (options.cache / f"{path.name}.pickle").is_file():
            continue
        if options.only and not path.name.startswith(tuple(options.only)):
            continue
        signals, height = read_signals(path, options.cache)
        predicted = moves_of(phases_of(signals, height=height))
        name = next(name for name, folder in FILES.items() if path.parent.name == folder)
        judged = score_clip(
            predicted, labels, signals.frames / 25, sets[name], classes, exhaustive=path.parent.name == "videos2"
        )
        if options.moves:
            print_moves(path, judged, labels)
    for name, tallies in sets.items():
        print(f"\n{name}:\n")
        print("\n".join(table({part: t for part, t in tallies.items() if t.labels or t.predicted})))
    print("\n| class | predicted | true | precision |\n|---|---|---|---|")
    for action, (true, count) in sorted(classes.items()):
        print(f"| {action} | {count} | {true} | {true / count:.2f} |")


def print_moves(path: Path, judged: Sequence[tuple[Move, bool]], labels: Sequence[Move]) -> None:
    """Every move and label of a clip in order of time."""
    print(f"\n{path.name}")
    rows = [
        (m.span, m.part, f"{'true  ' if true else 'UNTRUE'} {sorted(m.actions)} {sorted(m.sides)} {m.text}")
        for m, true in judged
    ]
    rows += [
        (label.span, label.part, f"   label {sorted(label.actions)} {sorted(label.sides)} {label.text} [{label.note}]")
        for label in labels
    ]
    for span, part, text in sorted(rows, key=lambda row: (row[1], row[0].start_us)):
        print(f"  {part[:5]} {seconds_from_us(span.start_us):6.2f} {seconds_from_us(span.end_us):6.2f}  {text}")


if __name__ == "__main__":
    main()
