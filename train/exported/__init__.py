"""Files of an export besides the weights.

avatar      the transformer's class, for diffusers' loading of components; copied into the folder
pipeline    diffusers' custom pipeline: portrait, audio and script to a video; copied into the folder
card        the model card, with figures
load        the model of an exported folder
"""
