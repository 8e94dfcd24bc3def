"""The script page: write a script over the waveform of its audio, and sample it.

server        HTTP on 127.0.0.1: page, script, samples, media
script_file   the YAML file behind the page, and its form as the page edits it
sampling      samples of the script, one at a time, in a process of their own
worker        the code inside that process
page/         the page: JavaScript modules without a build step
"""
