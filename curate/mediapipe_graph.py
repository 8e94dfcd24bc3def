"""A graph of the pinned mediapipe wheel, run in the calling thread.

mediapipe's own SolutionBase gives a graph threads that every picture wakes several times, and makes a class of results
for each picture: 2 to 14 % of the CPU time of a network (docs/log/curate.md#cost). Results are the same to the bit.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xsheet.curate.media.image import Rgb

_STEP_US = 33_333  # graphs want rising times; only their order matters


class NetworkGraph:
    """One running graph. An instance serves one film and one thread."""

    def __init__(
        self, config: str | Path, *, outputs: Sequence[str], side_inputs: Mapping[str, bool | int] | None = None
    ) -> None:
        """Start it.

        Args:
            config: text of a CalculatorGraphConfig, or path of a binary one below `mediapipe/modules`.
            outputs: names of the streams to read.
            side_inputs: what the graph gets once, by name.
        """
        # Importing mediapipe takes a second and starts its logging, so only workers import it.
        import mediapipe  # noqa: PLC0415
        from mediapipe import python as api  # noqa: PLC0415
        from mediapipe.framework import calculator_pb2  # noqa: PLC0415

        self._api: Any = api
        wheel = Path(mediapipe.__file__).parent
        self._api.resource_util.set_resource_dir(str(wheel.parent))
        # Expanded first, as SolutionBase does: where CalculatorGraph expands it, poses differ by .05 of the picture.
        expanded: Any = self._api.ValidatedGraphConfig()
        if isinstance(config, Path):
            expanded.initialize(binary_graph_path=str(wheel / "modules" / config))
        else:
            expanded.initialize(graph_config=config)
        messages: Any = calculator_pb2  # generated code without types
        graph = messages.CalculatorGraphConfig()
        graph.ParseFromString(expanded.binary_config)
        del graph.executor[:]
        graph.executor.add().type = "ApplicationThreadExecutor"
        self._graph: Any = self._api.CalculatorGraph(graph_config=graph)
        self._packets: dict[str, Any] = {}
        for name in outputs:
            self._graph.observe_output_stream(name, self._packets.__setitem__)
        create: Any = self._api.packet_creator
        self._graph.start_run(
            {
                name: create.create_bool(value) if isinstance(value, bool) else create.create_int(value)
                for name, value in (side_inputs or {}).items()
            }
        )
        self._time_us = 0

    def __call__(self, rgb: Rgb, **messages: Any) -> dict[str, Any]:
        """Run the graph on the next picture.

        Args:
            rgb: for its stream `image`.
            messages: protocol buffers for its other streams, by name.

        Returns:
            packets by name, without the streams that had none; `message_of` and `messages_of` read them.
        """
        self._packets.clear()
        self._time_us += _STEP_US
        create: Any = self._api.packet_creator
        image = create.create_image_frame(rgb, image_format=self._api.ImageFormat.SRGB)
        packets = {"image": image} | {name: create.create_proto(message) for name, message in messages.items()}
        for name, packet in packets.items():
            self._graph.add_packet_to_input_stream(stream=name, packet=packet.at(self._time_us))
        self._graph.wait_until_idle()
        return self._packets

    def message_of(self, packet: Any) -> Any:
        """The protocol buffer in a packet; None without a packet."""
        return None if packet is None or packet.is_empty() else self._api.packet_getter.get_proto(packet)

    def messages_of(self, packet: Any) -> list[Any]:
        """The list of protocol buffers in a packet; empty without a packet."""
        return [] if packet is None or packet.is_empty() else self._api.packet_getter.get_proto_list(packet)

    def close(self) -> None:
        """Release it."""
        self._graph.close()
