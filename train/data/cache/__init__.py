"""The cache: features of every clip, encoded once.

build         build and open a cache
items         clips to encode, with their signals and annotations
task          one clip to its features
files         paths and tensors of the cache
fingerprint   what a cache was made of
"""
