"""Tasks: one per step of the pipeline, run by the executor over many items.

probe      input path to a `sources` row
analyse    one source to timeline, tracks, shots, fingerprint and measured candidates
export     one kept candidate to a clip file, signals and motion
cpu_usage  CPU time per analyser
"""
