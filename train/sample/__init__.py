"""Sampling from a trained model.

sampler          sample requests to videos
sample           portrait, audio and script to a video file
long_sample      a video or motion of any length, in windows
windows          window starts, and joining of overlapping windows
portrait         face of a portrait: place, masks, identity
driver           what drives the face of a variant that reads motion: a video or a motion prior
script           the script of a sample: base text and timed actions
script_sources   scripts from YAML, ELAN, CSV, WebVTT, or a clip of a layer
"""
