"""Qwen2.5-VL, Qwen3-VL, Qwen2.5-Omni and Qwen3-Omni in process.

folder      QwenFolder: checks a model folder, reads its family and revision
model       QwenClient: a VlmClient; loads the weights on the worker
engine      QwenModel: one batch of requests through the loaded model
processor   frames and times in, model inputs out
decoding    seeded sampling and grammar as logits processors
tokens      frame size, frame times and token counts by arithmetic
"""
