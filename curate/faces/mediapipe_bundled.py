"""Face back-end with the models of the pinned mediapipe wheel: full-range detection and attention mesh. Works offline.

The FaceMesh solution of the wheel uses the short-range detector, which misses faces below 15 % of the picture height.
The full-range detector finds faces down to 6 %, so this module runs it and passes each region to the mesh itself. No
call depends on the previous one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.faces.mesh import FaceGeometry, Roi
from xsheet.curate.media.image import Rgb
from xsheet.curate.mediapipe_graph import NetworkGraph

# The mesh as a graph of one node with the region as input. The attention mesh adds irises and better lips.
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
# FaceDetection of the wheel with its full-range model.
_DETECTION_GRAPH = """
input_stream: "image"
output_stream: "detections"
node {{
  calculator: "FaceDetectionFullRangeCpu"
  input_stream: "IMAGE:image"
  output_stream: "DETECTIONS:detections"
  options {{ [mediapipe.FaceDetectionOptions.ext] {{ min_score_thresh: {min_score} }} }}
}}
"""
# A landmark in protobuf's wire format: its length, then x, y and z as a tag and a float each.
_WIRE_LANDMARK = np.dtype([("length", "u1", 2)] + [(f"{axis}{part}", kind) for axis in "xyz" for part, kind in (
    ("_tag", "u1"), ("", "<f4"))])  # fmt: skip
# The detector's box ends at brows and chin; the mesh expects a region 1.5 times as large (the factor of its own graph).
_ROI_SCALE = 1.5


class FullRangeDetector:
    """The full-range face detector of the wheel."""

    def __init__(self, *, min_score: float) -> None:
        self._min_score = min_score

    def open(self) -> None:
        """Load the model."""
        self._detector = NetworkGraph(_DETECTION_GRAPH.format(min_score=self._min_score), outputs=["detections"])

    def __call__(self, rgb: Rgb) -> list[Roi]:
        """Regions with a face, most confident first."""
        height, width = rgb.shape[:2]
        found = self._detector.messages_of(self._detector(rgb).get("detections"))
        detections = sorted(found, key=lambda d: -d.score[0])
        return [_roi(one.location_data, width, height, score=float(one.score[0])) for one in detections]

    def close(self) -> None:
        """Release the model."""
        self._detector.close()


class BundledFaceBackend:
    """Detector and mesh of the wheel."""

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

        self.detect.open()
        messages: Any = rect_pb2  # generated code without types
        self._rect = messages.NormalizedRect
        self._mesh = NetworkGraph(_MESH_GRAPH, outputs=["landmarks"])

    def landmarks(self, rgb: Rgb, roi: Roi) -> FaceGeometry | None:
        """Landmarks of the face in a region, or None."""
        height, width = rgb.shape[:2]
        region = self._rect(
            x_center=roi.x / width,
            y_center=roi.y / height,
            width=roi.side / width,
            height=roi.side / height,
            rotation=roi.angle_rad,
        )
        marks = self._mesh.message_of(self._mesh(rgb, roi=region).get("landmarks"))
        if marks is None:
            return None
        return FaceGeometry(points=_points(marks) * np.array((width, height, width), np.float32))

    def close(self) -> None:
        """Release the models."""
        self.detect.close()
        self._mesh.close()


def _points(marks: Any) -> NDArray[np.float32]:
    """(478, 3) landmarks; read from the wire format, since access to each number takes a fifth as long as the mesh."""
    raw = marks.SerializeToString()
    if len(raw) != _WIRE_LANDMARK.itemsize * len(marks.landmark):  # a version with further fields
        return np.array([(p.x, p.y, p.z) for p in marks.landmark], np.float32)
    read = np.frombuffer(raw, _WIRE_LANDMARK)
    return np.stack([read["x"], read["y"], read["z"]], axis=1)


def _roi(location: Any, width: int, height: int, *, score: float) -> Roi:
    box, eyes = location.relative_bounding_box, location.relative_keypoints[:2]
    across_x, across_y = (eyes[1].x - eyes[0].x) * width, (eyes[1].y - eyes[0].y) * height
    return Roi(
        x=(box.xmin + box.width / 2) * width,
        y=(box.ymin + box.height / 2) * height,
        side=_ROI_SCALE * max(box.width * width, box.height * height),
        angle_rad=float(np.arctan2(across_y, across_x)),
        score=score,
    )
