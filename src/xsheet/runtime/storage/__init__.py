"""Files in object stores: s3://, gs:// and az:// through pyarrow, hf:// through huggingface_hub.

stores    what is at a URL; read, fetch, write and delete objects
clients   the client of each store, with its credentials and endpoint
hub       the Hugging Face Hub: always its present state, one commit for many files
attempts  requests with retries, and errors of stores as sentences
fetched   a bounded folder of fetched objects, shared by the workers of a machine
mirror    a folder at a URL with a copy on this machine; a publication is atomic
place     recognise URLs, and where copies are kept; imports nothing heavy
"""
