"""Dedup: near duplicates and splits.

fingerprint        one 32-bit word per frame, for picture and sound
near_duplicates    pairs of sources with matching fingerprints
union_find         connected components
identity_clusters  tracks of one person, pair by pair or by an index
split              train, validation and test without shared source, copy or person
"""
