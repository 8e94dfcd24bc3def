"""Networks that find the joints of a body and the points of hands: those of the mediapipe wheel, or pulled files.

    network = create_pose_network("full", models=None)
    network.open()
    body = network(picture)                        # (33, 3): x, y in shares of the picture, visibility; None without

Compared in docs/log/curate.md#networks-for-the-body.
"""

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.body.hands import HandPoints
from xsheet.curate.media.image import Rgb
from xsheet.curate.mediapipe_graph import NetworkGraph
from xsheet.curate.weights import read_model
from xsheet.schemas.errors import ConfigError

Floats = NDArray[np.float64]
PoseNetworkName = Literal["full", "lite", "heavy"]
HandNetworkName = Literal["full", "lite", "landmarker"]
POSE_FILES: dict[PoseNetworkName, str] = {"lite": "pose_landmarker_lite.task", "heavy": "pose_landmarker_heavy.task"}
HAND_FILES: dict[HandNetworkName, str] = {"landmarker": "hand_landmarker.task"}
_HAND_STREAMS = ("multi_hand_landmarks", "multi_hand_world_landmarks", "multi_handedness")
_FRAME_MS = 40  # the Tasks trackers want rising times; only their order matters


class PoseNetwork(Protocol):
    """Finds one body in the pictures of one clip, in order."""

    @property
    def name(self) -> str:
        """Network, with its version or the hash of its file."""
        ...

    def open(self) -> None:
        """Load the models."""
        ...

    def __call__(self, picture: Rgb, /) -> Floats | None:
        """(33, 3) x and y in shares of the picture, and visibility 0..1, of MediaPipe's joints; None without a body."""
        ...

    def close(self) -> None:
        """Release the models."""
        ...


class HandNetwork(Protocol):
    """Finds up to two hands in the pictures of one clip, in order."""

    @property
    def name(self) -> str:
        """Network, with its version or the hash of its file."""
        ...

    def open(self) -> None:
        """Load the models."""
        ...

    def __call__(self, picture: Rgb, /) -> list[HandPoints]:
        """The hands."""
        ...

    def close(self) -> None:
        """Release the models."""
        ...


def create_pose_network(name: PoseNetworkName, *, models: Path | None) -> PoseNetwork:
    """The network of a setting; its file is read when it is needed.

    Raises:
        ConfigError: the file is missing or has another hash.
    """
    file = POSE_FILES.get(name)
    return WheelPose() if file is None else LandmarkerPose(_read_bundle(file, models))


def create_hand_network(name: HandNetworkName, *, models: Path | None) -> HandNetwork:
    """The network of a setting; errors as create_pose_network."""
    file = HAND_FILES.get(name)
    return WheelHands(complexity=int(name == "full")) if file is None else LandmarkerHands(_read_bundle(file, models))


def _read_bundle(file: str, models: Path | None) -> bytes:
    if models is None:
        raise ConfigError(
            where="export.pose", expected=f"a models folder with {file}", got="none",
            hint=f"xsheet models pull {file}, and give --models",
        )  # fmt: skip
    return read_model(models, file)


class WheelPose:
    """Pose of the wheel: the full network, the only one that it holds."""

    @property
    def name(self) -> str:
        """Network with its version."""
        return f"{_wheel()} pose full"

    def open(self) -> None:
        """Load the models."""
        self._pose = NetworkGraph(
            Path("pose_landmark/pose_landmark_cpu.binarypb"),
            side_inputs={
                "model_complexity": 1,
                "smooth_landmarks": True,
                "enable_segmentation": False,
                "smooth_segmentation": False,
                "use_prev_landmarks": True,
            },
            outputs=["pose_landmarks"],
        )

    def __call__(self, picture: Rgb) -> Floats | None:
        """See PoseNetwork."""
        found = self._pose.message_of(self._pose(picture).get("pose_landmarks"))
        return _joints(found.landmark) if found else None

    def close(self) -> None:
        """Release the models."""
        self._pose.close()


class LandmarkerPose:
    """A bundle for PoseLandmarker of MediaPipe Tasks."""

    def __init__(self, bundle: bytes) -> None:
        self._bundle = bundle

    @property
    def name(self) -> str:
        """Network with the hash of its file."""
        return f"pose landmarker@{hashlib.sha256(self._bundle).hexdigest()[:8]}"

    def open(self) -> None:
        """Load the models."""
        from mediapipe.tasks.python.core.base_options import BaseOptions  # noqa: PLC0415
        from mediapipe.tasks.python.vision import PoseLandmarker, PoseLandmarkerOptions, RunningMode  # noqa: PLC0415

        self._landmarker: Any = PoseLandmarker.create_from_options(
            PoseLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=self._bundle), running_mode=RunningMode.VIDEO
            )
        )
        self._clock = _Clock()

    def __call__(self, picture: Rgb) -> Floats | None:
        """See PoseNetwork."""
        bodies = self._landmarker.detect_for_video(_mediapipe_image(picture), self._clock.next_ms()).pose_landmarks
        return _joints(bodies[0]) if bodies else None

    def close(self) -> None:
        """Release the models."""
        self._landmarker.close()


class WheelHands:
    """Hands of the wheel."""

    def __init__(self, *, complexity: int) -> None:
        self._complexity = complexity  # 0 lite, 1 full

    @property
    def name(self) -> str:
        """Network with its version."""
        return f"{_wheel()} hands {'full' if self._complexity else 'lite'}"

    def open(self) -> None:
        """Load the models."""
        self._hands = NetworkGraph(
            Path("hand_landmark/hand_landmark_tracking_cpu.binarypb"),
            side_inputs={"num_hands": 2, "model_complexity": self._complexity, "use_prev_landmarks": True},
            outputs=_HAND_STREAMS,
        )

    def __call__(self, picture: Rgb) -> list[HandPoints]:
        """See HandNetwork."""
        found = self._hands(picture)
        parts = [self._hands.messages_of(found.get(name)) for name in _HAND_STREAMS]
        aspect = picture.shape[1] / picture.shape[0]
        return [
            _hand_points(marks.landmark, world.landmark, kinds.classification[0].score, aspect=aspect,
                         mirrored_side=kinds.classification[0].label)
            for marks, world, kinds in zip(*parts, strict=True)
        ]  # fmt: skip

    def close(self) -> None:
        """Release the models."""
        self._hands.close()


class LandmarkerHands:
    """A bundle for HandLandmarker of MediaPipe Tasks."""

    def __init__(self, bundle: bytes) -> None:
        self._bundle = bundle

    @property
    def name(self) -> str:
        """Network with the hash of its file."""
        return f"hand landmarker@{hashlib.sha256(self._bundle).hexdigest()[:8]}"

    def open(self) -> None:
        """Load the models."""
        from mediapipe.tasks.python.core.base_options import BaseOptions  # noqa: PLC0415
        from mediapipe.tasks.python.vision import HandLandmarker, HandLandmarkerOptions, RunningMode  # noqa: PLC0415

        self._landmarker: Any = HandLandmarker.create_from_options(
            HandLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=self._bundle), running_mode=RunningMode.VIDEO, num_hands=2
            )
        )
        self._clock = _Clock()

    def __call__(self, picture: Rgb) -> list[HandPoints]:
        """See HandNetwork."""
        found = self._landmarker.detect_for_video(_mediapipe_image(picture), self._clock.next_ms())
        aspect = picture.shape[1] / picture.shape[0]
        return [
            _hand_points(marks, world, kinds[0].score, aspect=aspect, mirrored_side=kinds[0].category_name)
            for marks, world, kinds in zip(
                found.hand_landmarks, found.hand_world_landmarks, found.handedness, strict=True
            )
        ]

    def close(self) -> None:
        """Release the models."""
        self._landmarker.close()


class _Clock:
    """Rising times of pictures."""

    def __init__(self) -> None:
        self._ms = 0

    def next_ms(self) -> int:
        self._ms += _FRAME_MS
        return self._ms


def _wheel() -> str:
    return f"mediapipe {metadata.version('mediapipe')}"


def _mediapipe_image(picture: Rgb) -> Any:
    from mediapipe import Image, ImageFormat  # noqa: PLC0415

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(picture))


def _joints(marks: Any) -> Floats:
    return np.array([(m.x, m.y, m.visibility) for m in marks])


def _hand_points(marks: Any, world: Any, score: float, *, aspect: float, mirrored_side: str) -> HandPoints:
    return HandPoints(
        picture=np.array([(m.x * aspect, m.y, m.z * aspect) for m in marks]),
        world=np.array([(m.x, m.y, m.z) for m in world]),
        score=float(score),
        looks_like="left" if mirrored_side == "Right" else "right",  # the networks assume mirrored pictures
    )
