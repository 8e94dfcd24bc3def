"""The demo's page: one file that tells what became of every film, what was said of a clip, and what was learned."""
