"""People: which clips to show reviewers, and what follows from their decisions.

sampling     stratified samples, sample sizes, Wilson bounds
calibration  acceptance probability as a function of support
check_verdicts  what reviewers decided about findings: the calibration set of the checks
"""
