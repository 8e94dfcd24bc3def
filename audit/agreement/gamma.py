"""Mathet's γ: agreement on units and classes at once, by aligning annotators against chance (extra `xsheet[gamma]`).

After Mathet, Widlöcher and Métivier, The Unified and Holistic Method Gamma (Computational Linguistics 41, 2015), by
pygamma-agreement. It draws random annotators, so it is seeded here, and takes about a second for a small clip: for
calibration sets. 0.6 to 0.8 is very good on real speech data.
"""

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from xsheet.audit.agreement.bootstrap import Estimate, estimate, per_clip, ratio, resampled
from xsheet.audit.agreement.phase_arrays import Units
from xsheet.schemas import vocab
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import content_key
from xsheet.schemas.time import seconds_from_us

POSITION_WEIGHT, CLASS_WEIGHT = 3.0, 1.0  # of a unit's place and of its class: α and β of the published examples
CHANCE_SAMPLES = 30  # random annotations of a clip; pygamma's own number


def gamma(observers: Sequence[Units], *, seed: int, resamples: int = 1_000) -> Estimate:
    """γ of two observers or more over the clips in which anyone saw something; row k of all is the same clip.

    A class is a track and an action. Disorder, observed and by chance, is summed over clips before it is divided: γ of
    one short clip is mostly noise. A clip of which an observer saw nothing is at chance.

    Raises:
        ConfigError: pygamma-agreement is not installed.
    """
    library = _library()
    observed, expected = np.zeros(observers[0].clips), np.zeros(observers[0].clips)
    for k, clip in enumerate(observers[0].clip_ids.tolist()):
        views = [one.take(np.array([k])) for one in observers]
        weight = np.mean([len(view) for view in views])  # disorder is per unit of an average observer
        if not all(map(len, views)):
            observed[k] = expected[k] = weight
            continue
        with _seeded(int(content_key(seed, clip)[:8], 16)):
            found = _continuum(library, views).compute_gamma(
                library.CombinedCategoricalDissimilarity(alpha=POSITION_WEIGHT, beta=CLASS_WEIGHT),
                n_samples=CHANCE_SAMPLES,
                sampler=library.ShuffleContinuumSampler(),
            )
        observed[k], expected[k] = weight * found.observed_disorder, weight * found.expected_disorder
    every = np.arange(len(observed))
    rows = {"disorder": per_clip(len(every), (every, observed), (every, expected))}
    sums = resampled([rows], resamples=resamples, rng=np.random.default_rng(seed))["disorder"]
    return estimate(1 - ratio(sums[:, 0], sums[:, 1]))


def _library() -> ModuleType:
    try:
        return importlib.import_module("pygamma_agreement")
    except ImportError as error:
        raise ConfigError(
            where="gamma",
            expected="the package pygamma-agreement",
            came=str(error),
            todo='pip install "xsheet[gamma]", or leave γ out',
        ) from error


def _continuum(library: ModuleType, views: Sequence[Units]) -> Any:
    segment = importlib.import_module("pyannote.core").Segment
    continuum = library.Continuum()
    for observer, view in enumerate(views):
        for track, action, start, end in zip(view.track, view.action, view.start_us, view.end_us, strict=True):
            span = segment(seconds_from_us(int(start)), seconds_from_us(int(end)))
            continuum.add(f"observer_{observer}", span, f"{vocab.TRACKS[track]} {vocab.ACTIONS[action]}")
    return continuum


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A quiet, repeatable place for the library, which draws from numpy's global stream, warns and prints from C.

    Stream, log and output are put back as they were; what other threads write to standard output meanwhile is lost.
    """
    state, disabled = np.random.get_state(), logging.root.manager.disable
    sys.stdout.flush()
    output = os.dup(1)
    np.random.seed(seed)
    logging.disable(logging.WARNING)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(output, 1)
        os.close(output)
        np.random.set_state(state)
        logging.disable(disabled)
