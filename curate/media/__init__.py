"""Media: decode untrusted video safely; write canonical clips and thumbnails.

limits      resource limits on one input file
safety      validate an input path and its first bytes; name what is no video
container   open one file with PyAV, choose streams, decode frames
timing      duration, frame rate and variability from time stamps
clock       one clock for joined recordings, whose time stamps restart within the file
probe       metadata of one file
image       decoded frame to upright RGB
planes      conversion of pictures by whole planes
tone_map    high dynamic range (PQ, HLG) to BT.709
frames      resample to a constant rate
audio       decoded sound to 16 kHz mono aligned with the frames
reader      `open_media`: frames and sound of one input
writer      canonical clips: 25 fps H.264, 16 kHz AAC
thumbnails  one small JPEG per second of a source
"""
