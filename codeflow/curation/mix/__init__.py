"""The language mix: how much of each language a training set holds.

Pure arithmetic on token counts by language; `codeflow.curation.mix.stage` reads and writes the
tables.

    estimate   bytes of patch → tokens of a language
    samplers   tokens that are there → shares asked for      laws, search: for the sampler `optimal`
    allocate   shares, a budget and a cap → tokens of each language
    draw       tokens of a language → which triples stay, by their ids; what each one weighs

docs/mix.md says what is published, what is not, and what was chosen.
"""
