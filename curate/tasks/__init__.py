"""Tasks: one per step of the pipeline, run by the executor over many items.

probe      input path to a `sources` row
analyse    one source to timeline, fingerprint, face tracks and sync distances, in one decode
segment    stored results of one source to shots and measured candidates
export     one kept candidate to a clip file, signals and motion
cpu_usage  CPU time per analyser
"""
