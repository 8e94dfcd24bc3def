"""Training data: from the clips of a set to batches.

settings        settings of the cache, the datasets and the loader
cache/          features of every clip, encoded once
framing         which frames and pixels of a clip are encoded
masks           face and mouth on the latent grid
visibility      phases that a crop does not show
texts           captions and timed blocks of a clip as tokens
motion          motion of a clip, relative to its rest
conditioning    identity, motion intensity and driving motion, for model variants
encoders        video, text and audio encoders
dataset         cached clips of a stage
batch           clips of one bucket on one device
order           order of the clips of an epoch, in batches of one bucket
loader          batches of this worker, prefetched
seeded_random   random numbers as a function of (seed, epoch, clip)
"""
