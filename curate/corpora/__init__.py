"""Published corpora as manifests: read their metadata, find local files by id, list missing clips in a table.

clips         records: a clip that a corpus describes, and a row that could not be used; reading of untrusted values
kinds         the corpora by name, composed by hand
local_files   index of the videos below a folder by name and by id
importer      metadata and local files to a manifest and a table of missing rows

hdtf, celebv_hq, talkvid, voxceleb2, speakervid, vip_200k, video_folder   one corpus each
clip_tables   tables with one row per clip whose columns are not documented: TalkVerse, OpenHumanVid

Nothing is downloaded. docs/corpora.md says how each corpus is fetched and licensed.
"""
