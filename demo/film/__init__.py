"""One synthetic film: plan, sound, pictures, ground truth.

plan    shots and their puppets, the edits between shots, the sound
voice   speech-like sound and the matching mouth motion
sounds  other sounds; audio shifted in time
render  pictures of a plan, with a machine-readable frame number in a corner
truth   ground truth of a film as records of the contract
"""
