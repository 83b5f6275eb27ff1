"""From triples to rows of exactly T tokens: render, encode, pack, write, read, mix.

Reading (`shards`, `mixture`) needs neither a tokenizer nor a dataset, so a trainer can import it
alone.
"""
