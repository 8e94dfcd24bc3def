"""Body: upper-body signals of kept clips.

pose          shoulders, arms and hands of one person over the frames of a clip
hand_tracker  21 points of each hand in a picture
hands         shape, palm direction and distances of a hand from its points
signals       signals of a clip from the timeline and the face track of its source
motion        speed per body part from the signals
flow          optical flow inside the body parts, evidence that no annotator reads
"""
