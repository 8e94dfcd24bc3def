"""Sync: agreement of lips and voice.

audio_to_mouth    mouth opening and width predicted from sound, by a small linear map
lip_audio         built-in scorer: measured against predicted mouth
base              the interface of every scorer; valid windows and the thresholds of the speaker
syncnet           SyncNet: network and sound features (optional)
syncnet_scorer    SyncNet: settings and scores from stored distances
both              SyncNet, checked by the built-in scorer
syncnet_stream    SyncNet during the decode
light_asd         Light-ASD: the network that reads whether a face speaks (optional)
light_asd_scorer  Light-ASD: settings, its part of the decode, scores of spans
face_crops        faces cropped during the decode for the networks
network_weights   weights of the networks: read by hash, converted
selftest          whether the scorer finds known shifts on a clip
weights           coefficients of audio_to_mouth
"""
