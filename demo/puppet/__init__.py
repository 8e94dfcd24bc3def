"""The puppet: a drawn person whose every motion is known.

identity  proportions, appearance and scene of one person
pose      Pose of one frame; Motion: the same quantities over time
script    plan actions, with the ground truth of their phases
act       planned actions to motion curves
draw      Puppet: draws a person and a backdrop for each pose
head      3D head: skin surface, features, blendshapes
skull     surface of the bare head
hair      3D hair
face      paint the head
body      paint neck, trunk, arms and hands
canvas    anti-aliased polygons; head units to pixels
"""
