"""Encoders of video, text, audio and motion; analytic ones without weights, and pretrained ones.

video       video codecs: an analytic one, and Wan's VAE
text        text encoders: a byte-level one, and UMT5
audio       audio encoders: log-mel bands, and wav2vec 2.0
motion      codec of motion curves, for the motion prior
upscaler    doubles the size of pictures of the analytic codec
pretrained  load, freeze and hash pretrained weights
"""
