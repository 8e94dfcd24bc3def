"""Export: the clips of a set with captions, in the form that another trainer reads.

pipeline   check, plan, write media, write metadata: `export_set`, `plan_export`
settings   kind of export, layer, captions, frame rate and frame count, with the frame rule of each kind
samples    clips, splits and a layer to the samples of an export
captions   captions of a clip: base, timed or prose, with the events in it
media      one video file of a sample: a copy, or encoded again at another rate, length or mirrored
folder     the output folder: what may be written there, checksums, the file that describes the export
remote     an export at a URL: the copy on this machine, and its upload
forms/     what each trainer reads beside the videos, with the rules of its reader
"""

if __name__ == "export":
    raise ImportError("expected 'xsheet.export', got a bare 'import export'; write 'from xsheet import export'")
