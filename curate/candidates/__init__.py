"""Candidates: spans of 3 to 10 s of one face in one shot.

segment  which frames become candidates: trim shots, find face segments, split at pauses
crop     the crop of a segment: faces inside it, tracks and pictures in it
measure  candidates with all their measures, from series alone
"""
