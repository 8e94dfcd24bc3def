"""Agreement of two layers, and of the samples of one layer.

compare       all metrics of two layers with bootstrap intervals: the entry point
phase_arrays  phases of a layer as numpy columns
matching      one-to-one matching of phases by tIoU; mean average precision
segmentation  boundary errors, boundary F1, edit score
kappa_alpha   Cohen's kappa per frame, unitizing alpha, overlap-linked kappa
consistency   support, spread and entropy over K samples of one annotator
bootstrap     sums per clip and Poisson bootstrap intervals
"""
