"""Annotation with a vision-language model.

client       VlmClient protocol: VlmRequest in, VlmResponse out
prompts      versioned prompt files; quoting of untrusted text
frames       which frames a model sees; frames as JPEG
sound        audio of a clip for models with audio input
json_document  the JSON object inside a reply, and its small deviations
response     JSON schema of a reply, and its parser
normalise    a parsed reply to the contract's vocabulary, with repairs
annotator    VlmAnnotator: describe (pass A), then segment (pass B)
cache        CachedVlmClient: finished calls on disk
endpoint     EndpointClient: any OpenAI-compatible server
completion   HTTP answers of such a server
background   an async job behind a plain iterator
qwen/        QwenClient: Qwen-VL and Qwen-Omni in process
"""
