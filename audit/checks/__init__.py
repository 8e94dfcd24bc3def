"""The checks of an audit, by family.

base       Check, its input AnnotationView, its CheckResult, and findings
quantities  the curve that shows each class, with the limits of the audited run
evidence   measured motion and voice of one clip, cached for the checks
structure  A: ids, sides, durations, hashes, parents, provenance
timeline   B: coverage, overlap, uniform or rounded boundaries, cuts
samples    D: agreement of several samples of one annotator
text       F: wording, repetition, text against class and fields
lexicon    word lists and patterns of the text checks
motion     G: phases against measured motion, and motion without a phase
flow       G11, G12: phases against optical flow, which no annotator reads
speech     H: phases and caption against voice activity and mouth
layer      F11-F13, G10: statistics of a whole layer
"""
