"""Speech: transcript of a clip, and timing of phases relative to speech.

word_times   word times of recognisers and aligners: WhisperX, faster-whisper, TextGrid
transcript   words of the user's manifest on the clip's clock
relation     SpeechRelation of every phase; voice spans and syllable onsets
"""
