"""Faces: detect, link into tracks, measure.

tracker            all faces of one video, frame by frame
linker             observations over frames to tracks, on numbers alone
mesh               head pose, mouth, brows, eyes and gaze from 478 landmarks
identity           identity embedding from proportions and tones, without a model
identity_network   identity embedding by dlib's network, an extra
mediapipe_bundled  back-end with the models of the mediapipe wheel
mediapipe_tasks    back-end with face-landmarker.task; adds blendshapes
"""
