"""Speech: words of a clip with their times, and timing of phases relative to speech.

word_times      word times of recognisers, aligners and captions: WhisperX, faster-whisper, TextGrid, WebVTT
pronunciation   an English transcript as words of a dictionary, or guessed from their letters
aligner         forced alignment of a transcript to words and sounds, by PocketSphinx
word_table      the table `words` of a set
transcript      words of a clip, from that table or the user's manifest, on the clip's clock
relation        SpeechRelation of every phase; voice spans and syllable onsets
"""
