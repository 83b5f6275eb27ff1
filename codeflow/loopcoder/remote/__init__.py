"""The files that `export --remote-code` puts beside the weights, word for word.

They are what transformers imports from an exported folder, on machines without codeflow: so they
import nothing but torch and transformers, and each other by a relative name. Nothing of codeflow
imports them; `hf.export` copies them as they are.
"""
