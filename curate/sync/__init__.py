"""Sync: agreement of lips and voice.

audio_to_mouth  mouth opening and width predicted from sound, by a small linear map
lip_audio       built-in scorer: measured against predicted mouth; active speaker
syncnet         SyncNet: network, sound features, scores (optional)
syncnet_stream  SyncNet during the decode
selftest        whether the scorer finds known shifts on a clip
weights         coefficients of audio_to_mouth
"""
