"""The motion annotator: phases from measured signals by rules; needs no weights.

series            operations on one series: runs, smoothing, gaps, speed
curves            MotionCurves of a clip, speeds of its tracks, motion ratio
segments          monotone movements of a series and the episodes they form
detected_actions  DetectedAction, its amplitude and speed levels, overlaps
head_rules        nods, shakes, turns, tilts
head_activity     heads that move without such a name
face_rules        gaze, lids, brows, smile, mouth
torso_rules       leans, sways, shrugs
arm_rules         strokes of the hands; beats, claps and waves
hand_shapes       hands that are seen open
annotator         all rules to phases of the contract
detectors         does a class occur inside a stated span?
"""
