"""People: select clips for reviewers, and evaluate their decisions.

sampling     stratified samples, sample sizes, Wilson bounds
calibration  acceptance probability as a function of support
check_verdicts  decisions of reviewers about findings, to calibrate the limits of the checks
"""
