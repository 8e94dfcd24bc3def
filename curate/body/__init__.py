"""Body: upper-body signals of kept clips.

pose      shoulders, arms and hands of one person over the frames of a clip
networks  the networks behind it: those of the mediapipe wheel, or pulled files
hands     side, shape, palm direction and distances of hands from their points
signals   signals of a clip from the timeline and the face track of its source
motion    speed per body part from the signals
flow      optical flow inside the body parts, evidence that no annotator reads
"""
