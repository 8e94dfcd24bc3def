"""Reports of a curated set, from its tables and thumbnails; only the inspection video decodes a clip.

page            Writes the curation report, one HTML page.
candidates      The candidates of a set as columns.
funnel          Counts and durations from the files to the kept clips, and the cost of each reason.
applied_limits  The limits behind the verdicts, and the manifests of a set.
charts          Histograms of measurements, and the steps of the funnel.
contact_sheets  Kept, rejected and borderline candidates with thumbnails.
duplicates      Near duplicates, and the totals of each split.
timing          Processing time by step and analyser.
inspect         Everything known about one candidate.
terminal        The same on a terminal.
overlay         Boxes, mesh, joints, curves and phases drawn on a frame.
inspection_video  The same as a video of the whole clip.
wording         Names, units and descriptions of measurements.
estimate        Steps, time and disk of a planned run.
"""
