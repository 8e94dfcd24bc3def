"""Faces by the models inside the pinned mediapipe wheel: full-range detection and the attention mesh. Works offline.

The wheel's ready-made FaceMesh runs the short-range detector, which misses faces below 15 % of the picture's height.
The full-range one finds them down to 6 %, so this module asks that one where to look and gives the mesh each region
itself. Regions come from outside, hence no call depends on the call before.
"""

from typing import Any

import numpy as np

from xsheet.curate.faces.mesh import FaceGeometry, Roi
from xsheet.curate.media.image import Rgb

# The mesh as a graph of one node that takes its region from outside. The attention mesh adds irises and better lips.
_MESH_GRAPH = """
input_stream: "image"
input_stream: "roi"
output_stream: "landmarks"
node {
  calculator: "ConstantSidePacketCalculator"
  output_side_packet: "PACKET:with_attention"
  options { [mediapipe.ConstantSidePacketCalculatorOptions.ext] { packet { bool_value: true } } }
}
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""
# A detected box ends at brows and chin; the mesh was trained on regions half as large again (its own graph's factor).
_ROI_SCALE = 1.5


class FullRangeDetector:
    """The full-range detector of the wheel."""

    def __init__(self, *, min_score: float) -> None:
        self._min_score = min_score

    def open(self) -> None:
        """Load the model."""
        # Importing mediapipe takes a second and starts its logging, so it waits until a worker needs it.
        from mediapipe.python.solutions.face_detection import FaceDetection  # noqa: PLC0415

        self._detector: Any = FaceDetection(model_selection=1, min_detection_confidence=self._min_score)

    def __call__(self, rgb: Rgb) -> list[Roi]:
        """Where faces may be, the surest first."""
        height, width = rgb.shape[:2]
        found = sorted(self._detector.process(rgb).detections or (), key=lambda d: -d.score[0])
        return [_roi(detection.location_data, width, height) for detection in found]

    def close(self) -> None:
        """Release the model."""
        self._detector.close()


class BundledFaceBackend:
    """Detection and mesh of the wheel."""

    def __init__(self, *, min_score: float) -> None:
        self.detect = FullRangeDetector(min_score=min_score)

    @property
    def name(self) -> str:
        """Back-end and models, with versions."""
        from mediapipe import __version__  # noqa: PLC0415

        return f"mediapipe {__version__} full-range + attention mesh"

    def open(self) -> None:
        """Load both models."""
        from mediapipe.framework.formats import rect_pb2  # noqa: PLC0415
        from mediapipe.python.solution_base import SolutionBase  # noqa: PLC0415

        self.detect.open()
        messages: Any = rect_pb2  # generated code, unknown to type checkers
        self._rect = messages.NormalizedRect
        self._mesh: Any = SolutionBase(graph_config=_MESH_GRAPH, outputs=["landmarks"])

    def landmarks(self, rgb: Rgb, roi: Roi) -> FaceGeometry | None:
        """The face in a region, or None when there is none."""
        height, width = rgb.shape[:2]
        region = self._rect(
            x_center=roi.x / width,
            y_center=roi.y / height,
            width=roi.side / width,
            height=roi.side / height,
            rotation=roi.angle_rad,
        )
        marks = self._mesh.process({"image": rgb, "roi": region}).landmarks
        if marks is None:
            return None
        points = np.array([(p.x, p.y, p.z) for p in marks.landmark], np.float32)
        return FaceGeometry(points=points * np.array((width, height, width), np.float32))

    def close(self) -> None:
        """Release the models."""
        self.detect.close()
        self._mesh.close()


def _roi(location: Any, width: int, height: int) -> Roi:
    box, eyes = location.relative_bounding_box, location.relative_keypoints[:2]
    across_x, across_y = (eyes[1].x - eyes[0].x) * width, (eyes[1].y - eyes[0].y) * height
    return Roi(
        x=(box.xmin + box.width / 2) * width,
        y=(box.ymin + box.height / 2) * height,
        side=_ROI_SCALE * max(box.width * width, box.height * height),
        angle_rad=float(np.arctan2(across_y, across_x)),
    )
