"""Shots: find cuts and transitions.

scores  four cut scores per frame, computed during the decode
detect  shots from the scores, without pixels
"""
