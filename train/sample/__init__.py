"""Sampling from a trained model.

sampler          sample requests to videos
sample           portrait, audio and script to a video file
portrait         face of a portrait: place, masks, identity
script           the script of a sample: base text and timed actions
script_sources   scripts from YAML, ELAN, CSV, WebVTT, or a clip of a layer
"""
