"""The motion annotator: phases from measured signals by rules; needs no weights.

series            operations on one series: runs, smoothing, gaps, speed
curves            MotionCurves of a clip, speeds of its tracks, motion ratio
segments          monotone movements of a series and the episodes they form
detected_actions  DetectedAction, its amplitude and speed levels, overlaps
head_rules        nods, shakes, turns, tilts
face_rules        gaze, lids, brows, smile, mouth
body_rules        leans, sways, shrugs; gestures of the hands
annotator         all rules to phases of the contract
detectors         does a class occur inside a stated span?
"""
