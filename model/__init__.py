"""The video diffusion transformer and its parts.

transformer   Wan's transformer with phase embeddings and audio attention; read this first
phases        phase binding: which phase each text token belongs to, and its interval
audio         audio features to tokens per latent frame, and attention inside each latent frame
conditioning  inputs, their dropout, classifier-free guidance
flow          flow matching: noise, loss, Euler sampler
config        sizes, and the two named models
init          initial weights
weights       loading and saving, key by key
encoders/     video, text, audio and motion encoders, analytic and pretrained
variants/     FantasyTalking and ACTalker conditioning
"""

if __name__ == "model":
    raise ImportError("expected 'xsheet.model', got a bare 'import model'; write 'from xsheet import model'")
