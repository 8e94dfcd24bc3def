"""Curate: raw talking video to measurements, verdicts, canonical clips and signals.

pipeline       the whole path: discover, probe, analyse, segment, decide, export
resegment      candidates of a set again, from stored results; what changed
items          items of each step with their result keys
result_tables  tables of a set from stored results
settings       settings of a run, one section per part
discover       inputs: folders, patterns, files, manifests
manifest       tables whose rows name videos or segments of videos
paths          names of input files: any POSIX name, stored as text without loss
remote         inputs in object stores
series         per-frame series as arrays
mediapipe_graph  graphs of the mediapipe wheel, run in the calling thread
weights        optional model files: list, verify, download
tasks/         one task per step for the executor: probe, analyse, export
media/         decode untrusted video; write canonical clips and thumbnails
shots/         cut scores per frame; shots from the scores
faces/         detect faces, link them into tracks, measure face signals
body/          shoulders, arms and hands of kept clips; motion per body part
audio/         voice activity, loudness, mouth motion predicted from sound
picture/       brightness, frozen frames, letterbox, camera motion, burnt-in text
sync/          lip-voice agreement: built-in scorer, SyncNet, self-test
candidates/    3 to 10 s spans of one face in one shot, with all measures
filter/        limits, verdicts, sweeps over a limit
dedup/         fingerprints, near duplicates, train/val/test split
corpora/       manifests of published corpora
report/        page, funnel, contact sheets, candidate inspection, cost estimate
presets/       limits as YAML: keep, train, stage2_motion
"""

if __name__ == "curate":
    raise ImportError("expected 'xsheet.curate', got a bare 'import curate'; write 'from xsheet import curate'")
