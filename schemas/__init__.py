"""The data contract, in reading order.

errors      the four kinds of error, each with where, expected, got, hint
time        Span and FrameRate: integer microseconds and their conversions
vocab       closed word lists: actions, tracks, layers, origins
ids         ids and hashes from content
columns     column types; a record's Arrow columns
source      SourceVideo, Timeline, FaceTrack, Shot, fingerprints and splits
clip        Measures, Verdict, Clip, Signals, Feature
run         Run: model, prompts, sampling and versions behind a layer
annotation  Annotation, Phase, Base; Finding and Review
files       files that appear whole or not at all, JSON files
tables      Parquet tables: write, read, upgrade
layers      the annotations of one run, and how to find them by name
settings    strict settings from presets, files and --set
sets        set.json, ClipFormat, RunManifest; check a whole set
"""

if __name__ == "schemas":
    raise ImportError("expected 'xsheet.schemas', got a bare 'import schemas'; write 'from xsheet import schemas'")
