"""Audit: check a layer of annotations, decide whether training may use it, and review it with people.

pipeline       run all checks on a layer, store the findings, evaluate the gate
settings       limits of the checks, of the gate and of automatic acceptance
views          one annotation with its clip, signals, samples and parents: the input of the checks
signal_rows    signals clip by clip, with one row group in memory
checks/        the checks by family: structure, timeline, consistency, text, motion, speech, whole layer
scores         scores of phases, annotations and layers from the results of the checks
gate           criteria that a layer must meet
accept         write the annotations that need no review as layer `accepted`
explain        one annotation with its provenance and all check results
independence   whether the checks use the same measurements and rules as the annotator
agreement/     compare two layers or the samples of one layer: F1, boundaries, kappa, alpha
people/        samples for reviewers, and calibration of support against their decisions
review/        the review page: server, edits, journals
report/        the HTML report of an audit
layer_profile  class distribution and response statistics of a layer, drift between two layers
seeded_faults  known faults in correct annotations, to measure what the checks detect
"""

if __name__ == "audit":
    raise ImportError("expected 'xsheet.audit', got a bare 'import audit'; write 'from xsheet import audit'")
