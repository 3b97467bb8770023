"""Reads a trace by Perfetto's own schema and prints what the test looks at, as JSON."""

import json
import sys

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2


def unknown(message, path="trace"):
    for field in UnknownFieldSet(message):
        yield f"{path}: {field.field_number}"
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if isinstance(value, (list, tuple)) or hasattr(value, "add") else [value]:
                yield from unknown(part, f"{path}.{field.name}")


def main():
    trace = perfetto_trace_pb2.Trace()
    with open(sys.argv[1], "rb") as file:
        trace.ParseFromString(file.read())
    threads, processes, events, verdicts, depth = {}, set(), [], [], {}
    for packet in trace.packet:
        track = packet.track_descriptor
        if track.HasField("process"):
            processes.add(track.process.pid)
        if track.HasField("thread"):
            threads[track.uuid] = (track.thread.pid, track.thread.tid)
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        if event.type == event.TYPE_SLICE_BEGIN:
            depth[event.track_uuid] = depth.get(event.track_uuid, 0) + 1
        elif event.type == event.TYPE_SLICE_END:
            depth[event.track_uuid] -= 1
            assert depth[event.track_uuid] >= 0, "an end without a beginning"
        elif event.track_uuid in threads:
            number = {it.name: it.uint_value for it in event.debug_annotations}["event"]
            events.append([packet.timestamp, event.name, number, *threads[event.track_uuid]])
        elif event.name == "verdict":
            verdicts.append(event.debug_annotations[0].string_value)
    print(json.dumps({
        "unknown": sorted(set(unknown(trace))), "processes": sorted(processes), "events": events,
        "verdicts": verdicts, "open": sum(depth.values()),
    }))


main()
